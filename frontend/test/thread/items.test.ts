import { describe, expect, it } from "vitest";
import { Talk, type Message, type Run, type Unsent } from "../../src/client";
import { type Item, itemsOf, questionOf, waitingRuns } from "../../src/thread/items";
import { begin, load, NAMES } from "../recordings";

const AUTHOR = { kind: "agent" as const, name: "assistant", title: "", avatar: "", color: "" };

function message(id: string, role: Message["role"], run_id: string | null, more: Partial<Message> = {}): Message {
  return {
    message_id: id, session_id: "s", run_id, parent_id: null, key: null, role, author: AUTHOR, kind: "text",
    category: "chat", content: id, data: {}, attachments: [], created_at: "2026-01-05T10:00:00Z",
    updated_at: "2026-01-05T10:00:00Z", deleted_at: null, ...more,
  };
}

function run(id: string, status: Run["status"], position: number, more: Partial<Run> = {}): Run {
  return {
    run_id: id, session_id: "s", message_id: null, question_id: id.toUpperCase(), status, position, attempt: 1, crashes: 0, agent: "assistant",
    llm: "demo", fallback_status: null, usage: { input_tokens: 0, output_tokens: 0, cost_usd: 0 }, error: null,
    queued_at: "", started_at: null, interrupted_at: null, succeeded_at: null, failed_at: null, cancelled_at: null, ...more,
  };
}

function talk(messages: Message[], runs: Run[] = []): Talk {
  const made = new Talk("s");
  for (const row of messages) made.messages.set(row.message_id, row);
  for (const row of runs) made.runs.set(row.run_id, row);
  return made;
}

const unsent = (key: string) => ({ key, session_id: "s", content: key }) as Unsent;
const names = (items: readonly Item[]) => items.filter((item) => item.kind !== "day").map((item) => `${item.kind}:${item.key}`);

describe("the order of a thread", () => {
  it("puts a question that waited right before its own answer", () => {
    const made = talk([
      message("A", "user", "a"), message("B", "user", "b"),
      message("a1", "assistant", "a"), message("b1", "assistant", "b"),
    ]);
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "answer:a1", "footer:footer:a", "asked:B", "answer:b1", "footer:footer:b"]);
  });

  it("leaves to the queue what waits, and shows a question alone as soon as it is about to be answered", () => {
    const made = talk([message("A", "user", "a"), message("B", "user", "b")], [run("a", "running", 1), run("b", "queued", 2)]);
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "pending:pending:a"]);
    expect(waitingRuns(made).map((one) => one.run_id)).toEqual(["b"]);
    made.runs.set("a", run("a", "succeeded", 1));
    expect(waitingRuns(made)).toEqual([]);
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "footer:footer:a", "asked:B", "pending:pending:b"]);
  });

  it("puts what was taken back after the answer during which it was said", () => {
    const rows = [message("A", "user", "a"), message("B", "user", "b"), message("a1", "assistant", "a")];
    const cancelled = run("b", "cancelled", 2);
    const over = talk(rows, [run("a", "succeeded", 1), cancelled]);
    const end = ["asked:B", "footer:footer:b"];
    expect(names(itemsOf(over, []))).toEqual(["asked:A", "answer:a1", "footer:footer:a", ...end]);
    const under = talk(rows.slice(0, 2), [run("a", "running", 1), cancelled]);
    expect(names(itemsOf(under, []))).toEqual(["asked:A", "pending:pending:a", ...end]);
  });

  it("keeps the steps of an answer together, with one face, and another one where another agent speaks", () => {
    const other = { ...AUTHOR, name: "expert" };
    const made = talk([
      message("A", "user", "a"), message("a1", "assistant", "a"), message("call", "tool", "a"),
      message("a2", "assistant", "a"), message("a3", "assistant", "a", { author: other }),
    ]);
    const items = itemsOf(made, []);
    expect(names(items)).toEqual(["asked:A", "answer:a1", "tool:call", "answer:a2", "answer:a3", "footer:footer:a"]);
    expect(items.flatMap((item) => ("first" in item ? [item.first] : []))).toEqual([true, false, false, true]);
    expect(items.at(-1)).toMatchObject({ messageIds: ["a1", "a2", "a3"] });
  });

  it("tells of an error with a way to ask again, and ends with what is not sent yet", () => {
    const made = talk(
      [message("A", "user", "a"), message("e", "system", "a", { kind: "error" })],
      [run("a", "failed", 1)],
    );
    expect(names(itemsOf(made, [unsent("k")]))).toEqual(["asked:A", "notice:e", "footer:footer:a", "unsent:k"]);
  });

  it("keeps a row's key when its message becomes real, and when its draft does", () => {
    const made = talk([message("A", "user", "a", { key: "k" })]);
    expect(names(itemsOf(made, []))).toEqual(["asked:k"]);
    expect(names(itemsOf(talk([]), [unsent("k")]))).toEqual(["unsent:k"]);
  });

  it("begins each day once", () => {
    const at = (created_at: string) => ({ created_at });
    const made = talk([
      message("A", "user", null, at("2026-01-05T10:00:00")), message("B", "user", null, at("2026-01-05T11:00:00")),
      message("C", "user", null, at("2026-01-06T00:10:00")),
    ]);
    expect(itemsOf(made, []).map((item) => item.kind)).toEqual(["day", "asked", "asked", "day", "asked"]);
  });

  it("shows nothing of a message that will wait, before its run is told", () => {
    const made = talk([message("A", "user", "a"), message("B", "user", "b")], [run("a", "running", 1)]);
    made.announced.add("b");
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "pending:pending:a"]);
    const idle = talk([message("A", "user", "a")]);
    idle.announced.add("a");
    expect(names(itemsOf(idle, []))).toEqual(["asked:A"]);
  });

  it("puts what joined an answer after its question, where it was said", () => {
    const joined = { data: { joined: { run_id: "a", read: false } } };
    const rows = [message("A", "user", "a"), message("J", "user", null, joined)];
    const under = talk(rows, [run("a", "running", 1)]);
    expect(names(itemsOf(under, []))).toEqual(["asked:A", "asked:J", "pending:pending:a"]);
    const over = talk([...rows, message("a1", "assistant", "a")], [run("a", "succeeded", 1)]);
    expect(names(itemsOf(over, []))).toEqual(["asked:A", "asked:J", "answer:a1", "footer:footer:a"]);
  });

  it("knows the question of a retry, and asks it once", () => {
    const again = run("b", "running", 2, { question_id: "A" });
    const made = talk([message("A", "user", "a"), message("e", "system", "a", { kind: "error" })], [run("a", "failed", 1), again]);
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "notice:e", "footer:footer:a", "pending:pending:b"]);
    expect(questionOf(made, again)?.message_id).toBe("A");
  });

  it("offers no second retry of what was taken back and asked again", () => {
    const made = talk([message("A", "user", "a")], [run("a", "cancelled", 1), run("b", "running", 2, { question_id: "A" })]);
    expect(names(itemsOf(made, []))).toEqual(["asked:A", "pending:pending:b"]);
  });

  it("leaves out what was deleted", () => {
    expect(itemsOf(talk([message("A", "user", null, { deleted_at: "2026-01-05T10:00:00Z" })]), [])).toEqual([]);
  });
});

describe("of every recording", () => {
  it.each([...NAMES])("%s: keys are unique at every step, and every message is there once", (name: string) => {
    const { frames, recording } = load(name);
    const made = begin(recording);
    for (const frame of frames) {
      made.feed(frame);
      const items = itemsOf(made, []);
      const keys = items.map((item) => item.key);
      expect(new Set(keys).size).toBe(keys.length);
    }
    const shown = itemsOf(made, []).flatMap((item) => ("message" in item && item.message ? [item.message.message_id] : []));
    expect(shown.sort()).toEqual([...made.messages.keys()].sort());
  });
});
