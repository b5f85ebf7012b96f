// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Interrupt, type Message, Offline, Refused } from "../../src/client";
import type { Language } from "../../src/i18n";
import { Notice } from "../../src/thread/Notice";
import { Question } from "../../src/thread/Question";
import { useProblemText } from "../../src/ui/problems";
import { Stage } from "./draw";

const PROTOCOL = readFileSync(join(import.meta.dirname, "../../../docs/protocol.md"), "utf8");
const ERRORS = readFileSync(join(import.meta.dirname, "../../../chat/errors.py"), "utf8");
const BASE = readFileSync(join(import.meta.dirname, "../../../workers/llm/base.py"), "utf8");
const LATIN = /[A-Za-z]{2}/;
let stage: Stage;

const refusals = [...ERRORS.matchAll(/code, status\b[^=]* = "(\w+)"/g)].map(([, code]) => code!);
const failures = [...(/ErrorCode = Literal\[(.*)\]/.exec(BASE)?.[1]?.matchAll(/\w+/g) ?? [])].map(([code]) => code).concat("worker_lost", "internal");

function Told({ problem }: { problem: unknown }) {
  return <p id="told">{useProblemText()(problem)}</p>;
}

async function told(problem: unknown, language: Language): Promise<string> {
  await stage.draw(<Told problem={problem} />, language);
  return stage.find("#told").textContent!;
}

async function notice(more: Partial<Message>, language: Language): Promise<string> {
  const message = { message_id: "m", session_id: "s", role: "system", kind: "notice", content: "", data: {}, ...more } as Message;
  await stage.draw(<Notice message={message} />, language);
  return stage.find(".prose").textContent!;
}

const refused = (code: string) => new Refused({ code, message: `The server's text of ${code}.`, temporary: false });

beforeEach(() => void (stage = new Stage()));
afterEach(() => stage.leave());

describe("what went wrong", () => {
  it("has codes to know", () => {
    expect(refusals.length).toBeGreaterThan(15);
    expect(failures.length).toBeGreaterThan(6);
    for (const code of [...refusals, ...failures]) expect(PROTOCOL).toContain(code);
  });

  it.each(refusals)("%s is told in Chinese", async (code) => {
    expect((await told(refused(code), "zh")).replace("CHAT_ORIGINS", "")).not.toMatch(LATIN);
  });

  it.each(failures)("a run's %s is told in Chinese, and in the server's own words in English", async (code) => {
    const failed = { kind: "error", content: "It took 30 s.", data: { error: { code } } };
    expect(await notice(failed, "zh")).not.toMatch(LATIN);
    expect(await notice(failed, "en")).toBe("It took 30 s.");
  });

  it("is told in the server's words where its code is not known, or says more", async () => {
    expect(await told(refused("brand_new"), "zh")).toBe("The server's text of brand_new.");
    expect(await told(refused("constructor"), "zh")).toBe("The server's text of constructor.");
    expect(await told(refused("invalid_input"), "en")).toBe("The server's text of invalid_input.");
    expect(await notice({ kind: "error", content: "New.", data: { error: { code: "brand_new" } } }, "zh")).toBe("New.");
  });

  it("is told where nobody knows", async () => {
    expect(await told(new Offline(), "zh")).toBe("无法连接服务器，请重试。");
    for (const problem of [new Error("secret"), null, undefined]) expect(await told(problem, "en")).toBe("Something went wrong on the server.");
  });
});

describe("what the server itself says", () => {
  const content = "Nobody answered in time, so it counts as refused:\nMay refund be called?\nWhich one?";
  const late = { content, data: { interrupt_ids: ["i"], ask_again: { content: "Again" } } };

  it("of a question that nobody answered is told in the reader's language; what was asked stays", async () => {
    expect(await notice(late, "zh")).toBe("无人及时回答，按拒绝处理：可以调用 refund 吗？Which one?");
    expect(await notice(late, "en")).toBe(content.replaceAll("\n", ""));
  });

  it("of anything else is shown as it is", async () => {
    expect(await notice({ content }, "zh")).toBe(content.replaceAll("\n", ""));
  });

  it("to ask for a call is told in the reader's language", async () => {
    const asked = { interrupt_id: "i", session_id: "s", reason: "question", prompt: "May refund be called?", payload: {}, expires_at: null } as unknown as Interrupt;
    await stage.draw(<Question interrupt={asked} />, "zh");
    expect(stage.find(".prose").textContent).toBe("可以调用 refund 吗？");
  });
});
