import { describe, expect, it, vi } from "vitest";
import { blank, EVENTS, frames, opened, recording, server, SESSION, soon, subscribed } from "./chatting";
import type { Command } from "./server";

describe("a session", () => {
  it("is read, followed from there, and folded", async () => {
    const chat = await opened();
    expect(subscribed(server.socket)).toEqual([1]);
    for (const frame of frames.slice(0, recording.resumed[0])) if (frame.session_id) server.socket.tell(frame);
    expect(chat.opened.get(SESSION)!.talk.drafts.size).toBe(1);
  });

  it("is resumed on the next socket after what was folded last, and ends as the server shows it", async () => {
    const chat = await opened();
    const cut = recording.resumed[0]!;
    for (const frame of frames.slice(0, cut)) if (frame.session_id) server.socket.tell(frame);
    const { lastSeq } = chat.opened.get(SESSION)!.talk;
    server.socket.lose();
    await soon();
    server.socket.hello();
    await soon();
    expect(subscribed(server.socket)).toEqual([lastSeq]);
    for (const frame of frames.slice(cut)) if (frame.session_id) server.socket.tell(frame);
    expect(chat.opened.get(SESSION)!.talk.state()).toEqual(recording.state);
  });

  it("is subscribed again where an event is missing", async () => {
    const chat = await opened();
    server.socket.tell(EVENTS.find((frame) => frame.seq === 4)!);
    await soon();
    expect(subscribed(server.socket)).toEqual([1, 1]);
    expect(chat.opened.get(SESSION)!.talk.lastSeq).toBe(1);
  });

  it("is followed, and a run stopped, on the next socket where this one did not answer", async () => {
    server.answer = (command, socket) => (command.type === "ping" ? socket.ok(command) : undefined);
    const chat = await opened();
    chat.cancel("run-1");
    await vi.advanceTimersByTimeAsync(20_001);
    server.answer = (command, socket) => socket.ok(command);
    server.socket.hello();
    await soon();
    expect(server.sockets.length).toBe(2);
    expect(subscribed(server.socket)).toEqual([1]);
    expect(server.socket.heard("run.cancel").length).toBe(1);
    expect(chat.isStopping("run-1")).toBe(false);
  });

  it("is read anew where the log no longer reaches back", async () => {
    let refused = 0;
    server.answer = (command, socket) => {
      if (command.type === "session.subscribe" && refused++ === 0) socket.refuse(command, "too_old");
      else socket.ok(command);
    };
    const chat = await opened();
    await soon();
    expect(server.requests.filter((request) => request.path.endsWith(`/api/sessions/${SESSION}/`)).length).toBe(2);
    expect(chat.opened.get(SESSION)!.status).toBe("ready");
  });

  it("is asked for ever more seldom where it cannot be followed, and not in a circle", async () => {
    server.answer = (command, socket) => {
      if (command.type === "session.subscribe") socket.refuse(command, "internal");
      else socket.ok(command);
    };
    await opened({ random: () => 1 });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(subscribed(server.socket).length).toBeLessThan(8);
    server.answer = (command, socket) => socket.ok(command);
    const before = subscribed(server.socket).length;
    await vi.advanceTimersByTimeAsync(15_000);
    expect(subscribed(server.socket).length, "it is followed at last").toBe(before + 1);
  });

  it("is asked for once, however much of an older subscription comes meanwhile", async () => {
    let waiting: Command | undefined;
    server.answer = (command, socket) => (command.type === "session.subscribe" ? (waiting = command) : socket.ok(command));
    const chat = await opened();
    const text = { message_id: "m", attempt: 1, text: "half" };
    for (let offset = 4; offset < 400; offset += 4) {
      server.socket.tell({ type: "message.delta", session_id: SESSION, run_id: "r", data: { ...text, offset } });
    }
    await soon();
    expect(subscribed(server.socket)).toEqual([1]);
    server.socket.ok(waiting!);
    await soon();
    server.socket.tell({ type: "message.delta", session_id: SESSION, run_id: "r", data: { ...text, offset: 0 } });
    expect(chat.draft(SESSION, "m")?.text).toBe("half");
    server.socket.tell({ type: "message.delta", session_id: SESSION, run_id: "r", data: { ...text, offset: 40 } });
    await soon();
    expect(subscribed(server.socket), "a hole in the new one").toEqual([1, 1]);
  });

  it("is followed at once on a new socket, whatever the old one was waited for", async () => {
    server.answer = (command, socket) => {
      if (command.type === "session.subscribe") socket.refuse(command, "unavailable", { temporary: true, retry_after_s: 60 });
      else socket.ok(command);
    };
    await opened();
    server.answer = (command, socket) => socket.ok(command);
    server.socket.lose();
    await soon();
    server.socket.hello();
    await vi.advanceTimersByTimeAsync(70_000);
    expect(server.sockets.map(subscribed)).toEqual([[1], [1]]);
  });

  it("is missing where it is not mine, or was deleted under me", async () => {
    server.pages[`GET /api/sessions/x/`] = new Response(
      JSON.stringify({ error: { code: "not_found", message: "", temporary: false } }),
      { status: 404 },
    );
    const chat = await opened();
    expect((await chat.open("x")).status).toBe("missing");
    server.socket.tell({ type: "error", session_id: SESSION, data: { code: "not_found", message: "", temporary: false } });
    expect(chat.opened.get(SESSION)!.status).toBe("missing");
  });
});

describe("one's own part in a session", () => {
  const told = (what: string, seq: number, username: string) => ({
    type: `session.member_${what}`,
    session_id: SESSION,
    seq,
    data: { ...blank(), last_seq: seq, member: { user_id: `id of ${username}`, username, name: username, role: "member" } },
  });

  it("ends with one's being taken out: the session is missing and off the list, and nothing is being written", async () => {
    server.pages["GET /api/sessions/"] = { results: [blank()], next: null, previous: null };
    const chat = await opened();
    expect(chat.sessions.row(SESSION)).toBeDefined();
    server.socket.tell(told("removed", 2, "ada"));
    expect(chat.opened.get(SESSION)!.status).toBe("missing");
    expect(chat.sessions.row(SESSION)).toBeUndefined();
  });

  it("goes on where somebody else is taken out", async () => {
    server.pages["GET /api/sessions/"] = { results: [blank()], next: null, previous: null };
    const chat = await opened();
    server.socket.tell(told("removed", 2, "bob"));
    expect(chat.opened.get(SESSION)!.status).toBe("ready");
    expect(chat.sessions.row(SESSION)).toBeDefined();
  });

  it("goes on where a log that is read late tells that one was let in again", async () => {
    const chat = await opened();
    server.pages[`GET /api/sessions/${SESSION}/`] = { ...blank(), last_seq: 3 };
    server.socket.tell(told("removed", 2, "ada"));
    server.socket.tell(told("added", 3, "ada"));
    await soon();
    expect(chat.opened.get(SESSION)!.status).toBe("ready");
    expect(subscribed(server.socket)).toEqual([1, 3]);
  });

  it("goes on, in a page that is still open, where the list has the session again", async () => {
    const chat = await opened();
    server.socket.tell(told("removed", 2, "ada"));
    server.pages["GET /api/sessions/"] = { results: [blank()], next: null, previous: null };
    server.pages[`GET /api/sessions/${SESSION}/`] = { ...blank(), last_seq: 3 };
    await chat.sessions.refresh();
    await vi.advanceTimersByTimeAsync(500);
    expect(chat.opened.get(SESSION)!.status).toBe("ready");
    expect(subscribed(server.socket)).toEqual([1, 3]);
  });
});

describe("an answer to a question", () => {
  const large = { approved: true as const, args: { text: "ü".repeat(70_000) } }; // 140,000 bytes

  it("goes over HTTP where it is larger than a frame may be, and the socket stays", async () => {
    const chat = await opened();
    await chat.resolve("i", large);
    expect(server.requests.at(-1)).toMatchObject({ method: "POST", path: "http://chat/api/interrupts/i/resolve/", body: { answer: large } });
    await chat.resolve("j", { approved: true });
    expect(server.socket.heard("interrupt.resolve").map(({ data }) => data["interrupt_id"])).toEqual(["j"]);
  });

  it("is refused at once where it is too large for that as well", async () => {
    const chat = await opened();
    const error = { code: "too_large", message: "", temporary: false };
    server.pages["POST /api/interrupts/i/resolve/"] = new Response(JSON.stringify({ error }), { status: 413 });
    await expect(chat.resolve("i", large)).rejects.toMatchObject({ code: "too_large" });
    expect(chat.connection.isReady).toBe(true);
  });
});

describe("a stop", () => {
  it("shows at once, also without a connection", async () => {
    const chat = await opened();
    const run = EVENTS.find((frame) => frame.type === "run.queued")!;
    for (const frame of EVENTS) if (frame.seq! > 1 && frame.seq! <= run.seq!) server.socket.tell(frame);
    server.socket.lose();
    await soon();
    const shown: boolean[] = [];
    chat.topics.on(`talk:${SESSION}`, () => shown.push(chat.isStopping(run.run_id!)));
    chat.cancel(run.run_id!);
    expect(shown).toEqual([true]);
  });

  it("that finds no connection is sent on the next one", async () => {
    const chat = await opened();
    server.socket.lose();
    chat.cancel("run-1");
    await soon();
    expect(chat.isStopping("run-1")).toBe(true);
    server.socket.hello();
    await soon();
    expect(server.socket.heard("run.cancel").map((command: Command) => command.data)).toEqual([{ run_id: "run-1" }]);
    expect(chat.isStopping("run-1")).toBe(false);
  });
});
