import { describe, expect, it, vi } from "vitest";
import type { Frame } from "../../src/client/wire";
import { blank, client, opened, server, SESSION, soon } from "./chatting";
import { listOf } from "./server";

describe("the list", () => {
  const row = (id: string, title: string) => ({ ...blank(), session_id: id, title, last_seq: 3 });

  it("follows its newest sessions, and shows what changes elsewhere", async () => {
    server.pages["GET /api/sessions/"] = { results: [row("a", "A"), row("b", "B")], next: null, previous: null };
    const chat = await opened();
    await vi.advanceTimersByTimeAsync(500);
    const watched = server.socket.heard("session.subscribe").map((command) => command.data["session_id"]);
    expect(watched).toEqual([SESSION, "a", "b"]);
    const event = (id: string, type: string, seq: number, data: object): Frame => ({
      type, session_id: id, run_id: null, seq, at: "2026-01-01T00:00:00.000000Z", data: data as Frame["data"],
    });
    server.socket.tell(event("b", "session.updated", 4, row("b", "Better")));
    expect(chat.sessions.state.rows.map((one) => one.title)).toContain("Better");
    server.socket.tell(event("b", "message.created", 5, { role: "user" }));
    expect(chat.sessions.state.rows[0]?.session_id).toBe("b");
    server.socket.tell(event("a", "session.deleted", 4, row("a", "A")));
    expect(chat.sessions.row("a")).toBeUndefined();
  });

  it("keeps all that was read when it looks again: what new sessions push off its first page, too", async () => {
    let rows = Array.from({ length: 100 }, (_, index) => row(`s${index}`, `S${index}`));
    server.pages["GET /api/sessions/"] = listOf("/api/sessions/", () => rows);
    const { sessions } = client();
    const listed = () => sessions.state.rows.map((one) => one.session_id);
    const ids = () => rows.map((one) => one.session_id);
    await sessions.refresh();
    await sessions.more();
    expect(listed()).toEqual(ids().slice(0, 80));
    rows = [row("new-2", ""), row("new-1", ""), ...rows];
    await sessions.refresh();
    expect(listed()).toEqual(ids().slice(0, 82));
    const moved = { ...rows[60]!, last_seq: 9 };
    rows = [moved, ...rows.filter((one) => one.session_id !== moved.session_id && one.session_id !== "s20")];
    await sessions.refresh();
    expect(listed(), "one moved up, one was deleted").toEqual(ids().slice(0, 81));
    await sessions.more();
    expect(listed().length).toBe(101);
    rows = [...Array.from({ length: 40 }, (_, index) => row(`newer-${index}`, "")), ...rows];
    await sessions.refresh();
    expect(listed(), "a whole page is new").toEqual(ids());
  });

  it.each(["before", "after"] as const)("keeps an old session that is opened by its address where it belongs: %s it is there", async (when) => {
    const rows = Array.from({ length: 90 }, (_, index) => row(`s${index}`, `S${index}`));
    const first = rows.slice(0, 40);
    server.pages["GET /api/sessions/"] = listOf("/api/sessions/", () => rows);
    server.pages["GET /api/sessions/s60/"] = { ...blank(), ...rows[60]!, title: "Read" };
    const chat = await opened();
    const arrive = await asked(chat, "find", { results: first, next: "http://chat/api/sessions/?limit=40&cursor=40", previous: null });
    if (when === "after") await arrive();
    await chat.open("s60");
    if (when === "before") await arrive();
    expect(listed(chat)).toEqual(first.map((one) => one.session_id));
    server.pages["GET /api/sessions/"] = listOf("/api/sessions/", () => rows);
    await chat.sessions.more();
    await chat.sessions.refresh();
    expect(listed(chat).indexOf("s60")).toBe(60);
    await chat.open("s60");
    await chat.sessions.more();
    expect(listed(chat)).toEqual(rows.map((one) => one.session_id));
  });

  const listed = (chat: { sessions: { state: { rows: readonly { session_id: string }[] } } }) =>
    chat.sessions.state.rows.map((one) => one.session_id);
  const page = (...rows: object[]) => ({ results: rows, next: null, previous: null });

  /** A list that was asked for, and whose answer as of then waits for `arrive`. */
  async function asked(chat: Awaited<ReturnType<typeof opened>>, how: "find" | "refresh", answer: object): Promise<() => Promise<void>> {
    let arrive!: () => void;
    server.pages["GET /api/sessions/"] = () => new Promise((done) => (arrive = () => done(answer)));
    const looking = how === "find" ? chat.sessions.find({}) : chat.sessions.refresh();
    await soon();
    return async () => {
      arrive();
      await looking;
    };
  }

  it.each(["find", "refresh"] as const)("keeps what was made after it was asked for: %s", async (how) => {
    server.pages["GET /api/sessions/"] = page(row("old", "Old"));
    const chat = await opened();
    await chat.sessions.refresh();
    const arrive = await asked(chat, how, page(row("old", "Old")));
    server.pages["POST /api/sessions/"] = row("new", "New");
    await chat.createSession();
    await arrive();
    expect(listed(chat)[0]).toBe("new");
    expect(listed(chat)).toContain("old");
    expect(chat.sessions.state.loading).toBe(false);
    server.pages["GET /api/sessions/"] = page(row("old", "Old"));
    await chat.sessions.refresh();
    expect(listed(chat), "a list that was asked for later knows better").not.toContain("new");
  });

  it("shows a session again that one was let into again, and not by a list from before", async () => {
    server.pages["GET /api/sessions/"] = page(row("a", "A"));
    const chat = await opened();
    await chat.sessions.refresh();
    const arrive = await asked(chat, "refresh", page(row("a", "A")));
    server.socket.tell({ type: "error", session_id: "a", data: { code: "not_found", message: "", temporary: false } });
    await arrive();
    expect(listed(chat)).not.toContain("a");
    server.pages["GET /api/sessions/"] = page(row("a", "A"));
    await chat.sessions.refresh();
    expect(listed(chat)).toContain("a");
  });

  it("shows a session that is read before it is listed, from the next look on", async () => {
    server.pages["GET /api/sessions/"] = page(row("a", "A"));
    const chat = await opened();
    await chat.sessions.refresh();
    server.pages["GET /api/sessions/new/"] = { ...blank(), ...row("new", "New") };
    await chat.open("new");
    server.pages["GET /api/sessions/"] = page(row("new", "New"), row("a", "A"));
    await chat.sessions.refresh();
    expect(listed(chat)).toEqual(["new", "a"]);
  });

  it("counts the questions that wait, and forgets those that are settled", async () => {
    const chat = await opened();
    const ask = { interrupt_id: "i", session_id: "a", status: "open", created_at: "2026" };
    const event = { type: "interrupt.opened", session_id: "a", seq: 4, data: ask };
    server.socket.tell(event);
    expect(chat.inbox.rows.length).toBe(1);
    server.socket.tell({ ...event, type: "interrupt.resolved", seq: 5, data: { ...ask, status: "resolved" } });
    server.socket.tell(event);
    expect(chat.inbox.rows.length).toBe(0);
  });
});
