// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { draftName, read, write } from "../../src/app/store";
import { TalkPage } from "../../src/app/TalkPage";
import { Stage } from "./draw";

let stage: Stage;
const DRAFT = draftName("u", "s");
const left = () => [...stage.element.querySelectorAll("article")].map((one) => one.querySelector(".bubble")!.textContent);

beforeEach(async () => {
  localStorage.clear();
  stage = await new Stage().online();
  const error = { code: "not_found", message: "", temporary: false };
  stage.server.pages["GET /api/sessions/s/"] = new Response(JSON.stringify({ error }), { status: 404 });
  stage.server.answer = (command, socket) => socket.refuse(command, "not_found");
});
afterEach(() => stage.leave());

describe("a session that is gone", () => {
  it("still shows what was not sent there, and the draft, to be copied or discarded", async () => {
    write(DRAFT, "Half a thought");
    await act(async () => void stage.chat.say("s", "A long thought"));
    await act(async () => void stage.chat.say("s", "One more"));
    await act(async () => void stage.chat.say("other", "Elsewhere"));
    await stage.draw(<TalkPage sessionId="s" />);
    expect(left()).toEqual(["A long thought", "One more", "Half a thought"]);
    expect(stage.element.querySelectorAll("[aria-label='Copy message']").length).toBe(3);
    for (let count = 0; count < 3; count++) await stage.click("Discard");
    expect(left()).toEqual([]);
    expect(stage.chat.outbox.of("s")).toEqual([]);
    expect(read(DRAFT)).toBeNull();
  });

  it("says nothing of it where all was sent", async () => {
    await stage.draw(<TalkPage sessionId="s" />);
    expect(stage.element.textContent).toContain("This chat is not here");
    expect(stage.element.textContent).not.toContain("was not sent");
  });
});
