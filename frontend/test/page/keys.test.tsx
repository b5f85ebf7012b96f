// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "../../src/app/App";
import { go } from "../../src/app/route";
import { Dialog } from "../../src/ui/Dialog";
import { Stage } from "./draw";

const SESSION = "26efacf8-a2dc-47c7-af7f-4587cc48ccc2";
const session = { session_id: SESSION, title: "Plans", status: "active", agent: "assistant", my_role: "owner", last_seq: 3, metadata: {} };
const run = { run_id: "r", session_id: SESSION, status: "running", position: 1, agent: "assistant", llm: "", usage: {} };
const TALK = "#composer";
const SEARCH = "#search";
let stage: Stage;

globalThis.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
const stopped = () => stage.server.socket.heard("run.cancel").length;
const panel = () => stage.element.querySelector("aside");
const narrow = (is: boolean) => vi.spyOn(window, "matchMedia").mockImplementation((query) => ({ matches: is && query.includes("max-width") }) as MediaQueryList);

/** The page, on a session whose answer is being written. */
async function page(language: "en" | "zh" = "en"): Promise<void> {
  stage.server.pages[`GET /api/sessions/${SESSION}/`] = { ...session, messages: [], runs: [run], interrupts: [] };
  stage.server.pages["GET /api/sessions/"] = { results: [session], next: null, previous: null };
  await stage.draw(<App world={stage.world} language={language} />);
  await stage.online();
  await act(() => new Promise((done) => setTimeout(done)));
}

beforeEach(() => {
  localStorage.clear();
  go(SESSION);
  stage = new Stage();
});
afterEach(async () => {
  await stage.leave();
  vi.restoreAllMocks();
  go(null);
});

describe("Escape", () => {
  it("stops the answer from the message field, and from where nobody types", async () => {
    await page();
    await stage.press(TALK, "Escape");
    expect(stopped()).toBe(1);
    await stage.press("h1", "Escape");
    expect(stopped()).toBe(2);
  });

  it("empties the search, and stops nothing from there", async () => {
    await page();
    await stage.type(SEARCH, "plan");
    await stage.press(SEARCH, "Escape");
    expect(stage.find<HTMLInputElement>(SEARCH).value).toBe("");
    await stage.press(SEARCH, "Escape");
    expect(stopped()).toBe(0);
  });

  it("closes the panel that is open before it stops anything", async () => {
    await page();
    await stage.click("Inbox");
    expect(panel()).not.toBeNull();
    await stage.press(TALK, "Escape");
    expect(panel()).toBeNull();
    expect(stopped()).toBe(0);
    await stage.press(TALK, "Escape");
    expect(stopped()).toBe(1);
  });

  it("is not taken by a search that lies open beside the talk", async () => {
    await page();
    await stage.press(TALK, "k", { ctrlKey: true });
    await stage.press(TALK, "Escape");
    expect(stopped()).toBe(1);
  });
});

describe("what lies over the page", () => {
  it("has the focus while it is open, and gives it back", async () => {
    narrow(true);
    await page();
    for (const [opener, selector] of [["Inbox", "aside"], ["Sessions", ".left"]] as const) {
      stage.button(opener).focus();
      await stage.click(opener);
      expect(stage.find(selector).contains(document.activeElement), opener).toBe(true);
      await stage.press(selector, "Escape");
      expect(document.activeElement, opener).toBe(stage.button(opener));
    }
  });

  it("leaves the focus alone where it stands beside the talk", async () => {
    narrow(false);
    await page();
    stage.find(TALK).focus();
    await stage.click("Inbox");
    expect(document.activeElement).toBe(stage.find(TALK));
  });

  it("is closed while it is still in the page, so that the browser gives the focus back", async () => {
    const there: boolean[] = [];
    HTMLDialogElement.prototype.showModal = function () {};
    HTMLDialogElement.prototype.close = function () {
      there.push(this.isConnected);
    };
    await stage.draw(<Dialog title="Keys" onClose={() => undefined}>{null}</Dialog>);
    await stage.draw(null);
    expect(there).toEqual([true]);
  });
});

describe("on a Mac", () => {
  beforeEach(() => {
    vi.resetModules();
    vi.spyOn(navigator, "platform", "get").mockReturnValue("MacIntel");
  });

  it("letters that are written with Option are the field's own", async () => {
    const { useShortcuts } = await import("../../src/app/Shortcuts");
    const did = vi.fn();
    const actions = { compose: did, search: did, fresh: did, step: did, inbox: did, help: did, escape: () => false };
    function Fields() {
      useShortcuts(actions);
      return <textarea />;
    }
    await stage.draw(<Fields />);
    for (const code of ["KeyN", "KeyI"]) expect(await stage.press("textarea", "˜", { code, altKey: true })).toBe(false);
    expect(did).not.toHaveBeenCalled();
    await act(async () => void document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "˜", code: "KeyN", altKey: true, bubbles: true })));
    expect(did).toHaveBeenCalledOnce();
  });
});
