// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { App } from "../../src/app/App";
import { go } from "../../src/app/route";
import { type Message, Talk } from "../../src/client";
import { say } from "../../src/i18n";
import { en } from "../../src/i18n/en";
import { Announcer } from "../../src/thread/Announcer";
import { Asked } from "../../src/thread/Asked";
import { Tool } from "../../src/thread/Tool";
import { Avatar } from "../../src/ui/Avatar";
import { Stage } from "./draw";

const TURN = "\u202e";
const said = (more: object): Message => ({
  message_id: "m", session_id: "s", run_id: null, parent_id: null, key: null, role: "user", kind: "text", category: "chat", content: "", data: {},
  author: { kind: "user", name: "bob", title: `${TURN}adA`, avatar: "", color: "" }, attachments: [], created_at: "2026-01-01T00:00:00Z", updated_at: "", deleted_at: null,
  ...more,
});
let stage: Stage;

beforeEach(() => void (stage = new Stage()));
afterEach(async () => {
  await stage.leave();
  vi.unstubAllGlobals();
  go(null);
});

it("nobody's name turns into another's", async () => {
  await stage.draw(<Asked message={said({})} />);
  expect(stage.find("strong").textContent).toBe("adA");
  expect(say(en, "typing", { names: `${TURN}adA`, count: 1 })).toBe("adA is typing…");
});

it("nobody's picture is a sign without a look", async () => {
  for (const avatar of ["", TURN]) {
    await stage.draw(<Avatar author={{ ...said({}).author, avatar }} />);
    expect(stage.find(".avatar").dataset["sign"]).toBe("A");
  }
});

it("an answer is read aloud in the order that it is in", async () => {
  const run = { run_id: "r", session_id: "s", status: "running", position: 1 };
  const talk = Talk.of({ session_id: "s", last_seq: 1, messages: [], runs: [run], interrupts: [] } as never);
  await stage.draw(<Announcer talk={talk} version={1} />);
  talk.runs.clear();
  talk.messages.set("m", said({ role: "assistant", content: `ok ${TURN}2` }));
  await stage.draw(<Announcer talk={talk} version={2} />);
  expect(stage.find("[role=status]").textContent).toBe("adA: ok 2");
});

it("a session's title reads above the talk and on the tab as it is", async () => {
  vi.stubGlobal("matchMedia", () => ({ matches: false }));
  const id = "26efacf8-a2dc-47c7-af7f-4587cc48ccc2";
  go(id);
  const row = { session_id: id, title: `${TURN}oG`, status: "new", last_seq: 1 };
  stage.server.pages["GET /api/sessions/"] = { results: [row], next: null, previous: null };
  stage.server.pages[`GET /api/sessions/${id}/`] = () => new Promise(() => undefined); // the list has it sooner
  await stage.draw(<App world={stage.world} language="en" />);
  await stage.online();
  await act(() => new Promise((done) => setTimeout(done)));
  expect([stage.find("h1").textContent, stage.find("h1").title, document.title]).toEqual(["oG", "oG", "oG"]);
});

it("a call and what came of it are shown with the signs that would turn them around", async () => {
  const call = { tool_call_id: "m", tool: "pay", args: { to: `x${TURN}moc` }, status: "returned" };
  const message = said({ role: "tool", content: `ok ${TURN}2`, data: { tool_call: call } });
  await stage.draw(<Tool item={{ kind: "tool", key: "m", message, first: false } as never} />);
  expect(stage.find(".gist").textContent).toBe("x\\u202emoc");
  expect(stage.find(".tool-body").textContent).toContain('"to": "x\\u202emoc"');
  expect(stage.find(".tool-body").textContent).toContain("ok \\u202e2");
});
