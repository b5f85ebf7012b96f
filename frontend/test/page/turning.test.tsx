// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Message } from "../../src/client";
import { say } from "../../src/i18n";
import { en } from "../../src/i18n/en";
import { Asked } from "../../src/thread/Asked";
import { Tool } from "../../src/thread/Tool";
import { Stage } from "./draw";

const TURN = "\u202e";
const said = (more: object): Message => ({
  message_id: "m", session_id: "s", run_id: null, parent_id: null, key: null, role: "user", kind: "text", category: "chat", content: "", data: {},
  author: { kind: "user", name: "bob", title: `${TURN}adA`, avatar: "", color: "" }, attachments: [], created_at: "2026-01-01T00:00:00Z", updated_at: "", deleted_at: null,
  ...more,
});
let stage: Stage;

beforeEach(() => void (stage = new Stage()));
afterEach(() => stage.leave());

it("nobody's name turns into another's", async () => {
  await stage.draw(<Asked message={said({})} />);
  expect(stage.find("strong").textContent).toBe("adA");
  expect(say(en, "typing", { names: `${TURN}adA`, count: 1 })).toBe("adA is typing…");
});

it("a call and what came of it are shown with the signs that would turn them around", async () => {
  const call = { tool_call_id: "m", tool: "pay", args: { to: `x${TURN}moc` }, status: "returned" };
  const message = said({ role: "tool", content: `ok ${TURN}2`, data: { tool_call: call } });
  await stage.draw(<Tool item={{ kind: "tool", key: "m", message, first: false } as never} />);
  expect(stage.find(".gist").textContent).toBe("x\\u202emoc");
  expect(stage.find(".tool-body").textContent).toContain('"to": "x\\u202emoc"');
  expect(stage.find(".tool-body").textContent).toContain("ok \\u202e2");
});
