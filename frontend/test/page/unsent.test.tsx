// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Unsent } from "../../src/client";
import { UnsentMessage } from "../../src/thread/Asked";
import { Stage } from "./draw";

let stage: Stage;
const shown = () => stage.element.textContent!;
const names = () => [...stage.element.querySelectorAll("article button")].map((one) => one.textContent);

beforeEach(() => void (stage = new Stage()));
afterEach(() => stage.leave());

/** A message of the outbox, and how its last try ended. */
async function unsent(problem: object | null): Promise<void> {
  let said: Unsent;
  await act(async () => void (said = stage.chat.say("s", "Hello"))); // it may be sent, and gone from there, at once
  await stage.draw(<UnsentMessage unsent={{ ...said!, problem } as Unsent} />);
}

describe("a message on its way", () => {
  it("says why it waits where the server takes none for now, and can be discarded", async () => {
    await stage.online();
    stage.server.answer = () => undefined;
    await unsent({ code: "rate_limited", message: "slow down", temporary: true });
    expect(shown()).toContain("it is tried again by itself");
    expect(shown()).toContain("Too many messages in a short time.");
    expect(names()).toEqual(["Discard"]);
    await stage.click("Discard");
    expect(stage.chat.outbox.items).toEqual([]);
  });

  it("is only being sent where nothing is wrong", async () => {
    await stage.online();
    stage.server.answer = () => undefined;
    await unsent(null);
    expect(shown()).toContain("Sending…");
    expect(names()).toEqual([]);
  });

  it("waits for the connection where there is none, whatever the last try met", async () => {
    await unsent({ code: "rate_limited", message: "slow down", temporary: true });
    expect(shown()).toContain("Will be sent when you are connected again");
    expect(shown()).not.toContain("Too many");
    expect(names()).toEqual(["Discard"]);
  });

  it("is left to its writer where the server refused it for good", async () => {
    await stage.online();
    await unsent({ code: "session_closed", message: "closed", temporary: false });
    expect(shown()).toContain("Not sent");
    expect(stage.find("[role=alert]").textContent).toContain("This chat is archived.");
    expect(names()).toEqual(["Try again", "Discard"]);
  });
});
