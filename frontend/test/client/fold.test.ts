import { describe, expect, it } from "vitest";
import { Talk } from "../../src/client/fold";
import type { Frame } from "../../src/client/wire";
import { begin, draftsOf, load, NAMES } from "../recordings";

describe("what a real server sent", () => {
  it("is there", () => expect(NAMES.length).toBeGreaterThan(8));

  it.each(NAMES)("%s folds to the state that the server showed, and to its drafts on the way", (name) => {
    const { frames, recording } = load(name);
    const talk = begin(recording);
    frames.forEach((frame, line) => {
      expect(talk.feed(frame), `line ${line}`).not.toBe("gap");
      const shown = recording.shown[line];
      if (shown) expect(draftsOf(talk), `line ${line}`).toEqual(shown);
    });
    expect(talk.state()).toEqual(recording.state);
  });

  it.each(NAMES)("%s folds to the same when all of it comes twice", (name) => {
    const { frames, recording } = load(name);
    const talk = begin(recording);
    for (const frame of frames) talk.feed(frame);
    for (const frame of frames) if (frame.seq !== null) expect(talk.feed(frame)).toBe("none");
    expect(talk.state()).toEqual(recording.state);
  });

  it("changes no row in place", () => {
    const { frames, recording } = load("answered");
    const talk = begin(recording);
    for (const frame of frames) {
      const held = [...talk.messages.values(), ...talk.runs.values(), ...talk.drafts.values()];
      held.forEach(Object.freeze);
      talk.feed(frame); // a strict module throws where it writes to what is frozen
    }
  });
});

describe("a lost attempt", () => {
  it("stays in sight, as void, until the next one has something to show", () => {
    const { frames, recording } = load("restarted");
    const talk = begin(recording);
    let seen = "";
    const kept: string[] = [];
    for (const frame of frames) {
      const before = [...talk.drafts.values()][0]?.text ?? "";
      talk.feed(frame);
      const [broken] = talk.broken.values();
      if (frame.type === "run.restarted") {
        expect(broken?.text).toBe(before);
        expect(broken?.reason).toBe("worker_lost");
        expect(talk.drafts.size).toBe(0);
        seen = before;
      }
      if (seen && talk.runs.get(frame.run_id ?? "")?.status === "running") expect([...talk.restarted.values()]).toEqual(["worker_lost"]);
      if (broken) kept.push(frame.type);
      if (frame.type === "message.delta" && seen) expect(broken).toBeUndefined();
    }
    expect(seen.length).toBeGreaterThan(10);
    expect(kept).toContain("run.started");
    expect(talk.broken.size + talk.restarted.size).toBe(0);
  });
});

describe("thoughts", () => {
  it("are told apart from the answer and stay with it", () => {
    const { frames, recording } = load("reasoned");
    const talk = begin(recording);
    for (const frame of frames) talk.feed(frame);
    const [answer] = [...talk.messages.values()].filter((row) => row.role === "assistant");
    const thoughts = talk.thoughts.get(answer!.message_id);
    expect(thoughts).toBeTruthy();
    expect(answer!.content).not.toContain(thoughts);
  });
});

const SESSION = "s-1";

function frame(type: string, data: object, seq: number | null = null, run_id: string | null = "r-1"): Frame {
  return { type, session_id: SESSION, run_id, seq, at: seq === null ? null : "2026-01-01T00:00:00.000000Z", data: data as Frame["data"] };
}

const run = (status: string, more: object = {}) => ({ run_id: "r-1", session_id: SESSION, status, position: 1, ...more });
const delta = (offset: number, text: string) => frame("message.delta", { message_id: "m-1", attempt: 1, offset, text });

describe("a frame that does not fit", () => {
  it("is called a gap when events are missing, and changes nothing", () => {
    const talk = new Talk(SESSION);
    talk.feed(frame("run.queued", run("queued"), 1));
    expect(talk.feed(frame("run.succeeded", run("succeeded"), 3))).toBe("gap");
    expect(talk.runs.get("r-1")?.status).toBe("queued");
    expect(talk.lastSeq).toBe(1);
  });

  it("is called a gap when a delta leaves a hole, counted in code points", () => {
    const talk = new Talk(SESSION);
    talk.feed(frame("run.started", run("running"), 1));
    talk.feed(delta(0, "😀é"));
    expect(talk.feed(delta(3, "x"))).toBe("gap");
    expect(talk.feed(delta(2, "x"))).toBe("draft");
    expect(talk.drafts.get("m-1")?.text).toBe("😀éx");
  });

  it("is ignored when it is of another session, or of a type that nobody knows yet", () => {
    const talk = new Talk(SESSION);
    expect(talk.feed({ ...delta(0, "x"), session_id: "s-2" })).toBe("none");
    expect(talk.feed(frame("weather.changed", { is: "fine" }, 1, null))).toBe("rows");
    expect(talk.lastSeq).toBe(1);
  });

  it("is ignored when it is a delta of a message that was discarded or is finished", () => {
    const talk = new Talk(SESSION);
    talk.feed(frame("run.started", run("running"), 1));
    talk.feed(delta(0, "Half"));
    talk.feed(frame("run.restarted", { ...run("queued"), reason: "drained", discarded: ["m-1"] }, 2));
    expect(talk.feed(delta(4, "more"))).toBe("none");
    expect(talk.drafts.size).toBe(0);
  });
});

describe("a tool call", () => {
  const call = (status: string, more: object = {}) => ({
    message_id: "call-1",
    session_id: SESSION,
    run_id: "r-1",
    role: "tool",
    kind: "text",
    content: "",
    data: { tool_call: { tool_call_id: "call-1", tool: "search", args: { q: "x" }, status, ...more } },
  });

  it("is a message that changes with its status", () => {
    const talk = new Talk(SESSION);
    talk.feed(frame("message.created", call("called"), 1));
    talk.feed(frame("tool.called", { tool_call_id: "call-1" }, 2));
    talk.feed(frame("message.updated", call("returned", { result: 3 }), 3));
    expect(talk.messages.get("call-1")?.data.tool_call?.result).toBe(3);
    expect(talk.messages.size).toBe(1);
  });
});

describe("a message of mine", () => {
  it("announces its run until that is told", () => {
    const { frames, recording } = load("queued");
    const talk = begin(recording);
    let announced = 0;
    for (const frame of frames) {
      talk.feed(frame);
      if (frame.type === "message.created" && (frame.data as { role?: string }).role === "user") announced += talk.announced.size;
      if (frame.type === "run.queued") expect(talk.announced.size).toBe(0);
    }
    expect(announced).toBe(4);
  });
});

describe("older messages", () => {
  it("are those behind what is known: what is listed in front of it is news, which the log tells", () => {
    const { frames, recording } = load("opened_late");
    const talk = begin(recording);
    for (const one of frames) talk.feed(one);
    const shown = [...talk.messages.keys()];
    const rows = (...ids: string[]) => ids.map((message_id) => ({ ...talk.messages.get(shown[0]!)!, message_id }));
    expect(talk.addOlder(rows("news-2", "news-1"))).toBe(false);
    expect(talk.addOlder(rows("news-0", ...[...shown].reverse()))).toBe(false);
    expect(talk.addOlder(rows("old-2", "old-1"))).toBe(true);
    expect([...talk.messages.keys()]).toEqual(["old-1", "old-2", ...shown]);
  });

  it("come before those that are there, without doubles and without what was discarded", () => {
    const { frames, recording } = load("opened_late");
    const talk = begin(recording);
    for (const one of frames) talk.feed(one);
    const shown = [...talk.messages.keys()];
    const first = talk.messages.get(shown[0]!)!;
    talk.discarded.add("void");
    const older = ["new-2", "new-1", "void"].map((message_id) => ({ ...first, message_id }));
    expect(talk.addOlder([first, ...older])).toBe(true);
    expect([...talk.messages.keys()]).toEqual(["new-1", "new-2", ...shown]);
  });
});
