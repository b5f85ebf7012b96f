// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { draftName, outboxPrefix, read, write } from "../../src/app/store";
import { UserMenu } from "../../src/app/UserMenu";
import { storageKeeper } from "../../src/client";
import { Stage } from "./draw";

HTMLDialogElement.prototype.showModal = function () {
  this.open = true;
};
HTMLDialogElement.prototype.close = function () {
  this.open = false;
};

let stage: Stage;
const fetched = vi.fn<typeof fetch>();
const redirect = () => ({ type: "opaqueredirect", ok: false, status: 0 }) as Response;
const DRAFT = draftName("u", "s");

async function signOut(): Promise<void> {
  await stage.click("Ada: settings and signing out");
  await stage.click("Sign out");
}

beforeEach(async () => {
  localStorage.clear();
  location.hash = "";
  document.cookie = "csrftoken=secret";
  vi.stubGlobal("fetch", fetched.mockReset().mockImplementation(async () => redirect()));
  stage = new Stage();
  stage.world.boot.sign_in_url = "#sign-in";
  write(DRAFT, "Half a thought");
  await stage.draw(<UserMenu onLanguage={() => undefined} onHelp={() => undefined} />);
});
afterEach(async () => {
  await stage.leave();
  vi.unstubAllGlobals();
});

describe("signing out", () => {
  it("forgets what was typed here once the server has done it, and leads to the way in", async () => {
    await signOut();
    expect(fetched.mock.calls.map(([url, init]) => [url, init?.method, init?.headers])).toEqual([["/logout/", "POST", { "X-CSRFToken": "secret" }]]);
    expect(read(DRAFT)).toBeNull();
    expect(location.hash).toBe("#sign-in");
  });

  it.each([
    ["without a connection", async () => Promise.reject(new TypeError("no network")), "There is no connection"],
    ["where the server is away", async () => new Response("", { status: 503 }), "The server is not available"],
  ])("forgets nothing %s, and says so", async (_, answer, told) => {
    fetched.mockImplementation(answer as typeof fetch);
    await signOut();
    expect(stage.find(".notices").textContent).toContain(told);
    expect(read(DRAFT)).toBe("Half a thought");
    expect(location.hash).toBe("");
  });

  it("asks before it loses what is not sent yet", async () => {
    const keeper = storageKeeper(localStorage, outboxPrefix("u"));
    await act(async () => keeper.put(stage.chat.say("s", "Not sent")));
    await signOut();
    expect(stage.find("dialog").textContent).toContain("1 message is not sent yet, and will be lost.");
    expect(fetched).not.toHaveBeenCalled();
    await stage.click("Cancel");
    expect(keeper.load()).toHaveLength(1);
    await signOut();
    await stage.click("Sign out all the same");
    expect(keeper.load()).toEqual([]);
    expect(location.hash).toBe("#sign-in");
  });
});
