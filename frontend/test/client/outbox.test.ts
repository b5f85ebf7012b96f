import { describe, expect, it, vi } from "vitest";
import { client, EVENTS, opened, server, SESSION, soon, storage } from "./chatting";
import type { FakeSocket } from "./server";

describe("what I say", () => {
  const sends = (socket: FakeSocket) => socket.heard("message.send").map(({ data }) => [data["content"], data["key"]]);

  it("waits for a connection, and is sent in order", async () => {
    const chat = client();
    const [one, two] = [chat.say(SESSION, "one"), chat.say(SESSION, "two")];
    chat.start();
    await soon();
    server.socket.hello();
    await soon();
    expect(sends(server.socket)).toEqual([["one", one.key], ["two", two.key]]);
  });

  it("is sent again with its key when nobody knows whether it arrived", async () => {
    server.answer = (command, socket) => (command.type === "message.send" ? undefined : socket.ok(command));
    const chat = await opened();
    const { key } = chat.say(SESSION, "hello");
    await soon();
    server.socket.lose();
    await soon();
    server.answer = (command, socket) => socket.ok(command, { message_id: "m", run_id: "r", duplicate: true });
    server.socket.hello();
    await soon();
    expect(sends(server.sockets[0]!)).toEqual([["hello", key]]);
    expect(sends(server.sockets[1]!)).toEqual([["hello", key]]);
    expect(chat.outbox.items[0]?.sent).toBe(true);
  });

  it("is shown until its event comes, whether before or after its ok", async () => {
    const chat = await opened();
    const item = chat.say(SESSION, "hello");
    expect(chat.outbox.of(SESSION).length).toBe(1);
    await soon();
    expect(chat.outbox.of(SESSION)[0]?.sent).toBe(true);
    const created = EVENTS.find((frame) => frame.type === "message.created")!;
    server.socket.tell({ ...created, data: { ...created.data, key: item.key } });
    expect(chat.outbox.of(SESSION)).toEqual([]);
  });

  it("stays with its reason where the server refuses it, and holds back what was said after it", async () => {
    server.answer = (command, socket) => {
      if (command.type === "message.send" && command.data["content"] === "bad") socket.refuse(command, "session_closed");
      else socket.ok(command);
    };
    const chat = await opened();
    const bad = chat.say(SESSION, "bad");
    chat.say(SESSION, "after");
    await soon();
    expect(chat.outbox.items[0]?.problem?.code).toBe("session_closed");
    expect(sends(server.socket).map(([content]) => content)).toEqual(["bad"]);
    chat.outbox.remove(bad.key);
    await soon();
    expect(sends(server.socket).map(([content]) => content)).toEqual(["bad", "after"]);
  });

  it("waits as long as a limit says, and then goes under the same key", async () => {
    let refusals = 1;
    server.answer = (command, socket) => {
      if (command.type === "message.send" && refusals-- > 0) socket.refuse(command, "rate_limited", { temporary: true, retry_after_s: 3 });
      else socket.ok(command);
    };
    const chat = await opened();
    chat.say(SESSION, "quick");
    await vi.advanceTimersByTimeAsync(2900);
    expect(sends(server.socket).length).toBe(1);
    expect(chat.outbox.items[0]?.problem, "why it waits").toEqual({ code: "rate_limited", message: "rate_limited", temporary: true });
    await vi.advanceTimersByTimeAsync(200);
    expect(chat.outbox.items[0]).toMatchObject({ sent: true, problem: null });
    expect(new Set(sends(server.socket).map(([, key]) => key)).size).toBe(1);
    expect(sends(server.socket).length).toBe(2);
  });

  it("may be taken back while a limit holds it up, and what was said after it goes in its place", async () => {
    server.answer = (command, socket) => {
      if (command.data["content"] === "held up") socket.refuse(command, "too_many_waiting", { temporary: true, retry_after_s: 3 });
      else socket.ok(command);
    };
    const chat = await opened();
    const held = chat.say(SESSION, "held up");
    chat.say(SESSION, "after");
    await soon();
    chat.outbox.remove(held.key);
    await vi.advanceTimersByTimeAsync(3100);
    expect(sends(server.socket).map(([content]) => content)).toEqual(["held up", "after"]);
  });

  it("outlives the page", async () => {
    const { keeper, kept } = storage();
    client({ keeper }).say(SESSION, "before the reload");
    const later = client({ keeper });
    later.start();
    await soon();
    server.socket.hello();
    await soon();
    expect(sends(server.socket).map(([content]) => content)).toEqual(["before the reload"]);
    expect(kept.size).toBe(0);
  });

  it("outlives its tab: another one that was open all along sends it with its next socket", async () => {
    const { keeper } = storage();
    const chat = await opened({ keeper });
    server.socket.lose();
    client({ keeper }).say(SESSION, "in a tab that is closed");
    vi.advanceTimersByTime(10);
    chat.say(SESSION, "and then in this one");
    await soon();
    server.socket.hello();
    await soon();
    expect(sends(server.socket).map(([content]) => content)).toEqual(["in a tab that is closed", "and then in this one"]);
  });

  it("is not sent by one tab when it was taken back in another", async () => {
    const { keeper } = storage();
    const other = client({ keeper });
    const [own, both] = [await opened({ keeper }), other.say(SESSION, "never mind")];
    server.socket.lose();
    await soon();
    server.answer = (command, socket) => {
      if (command.type === "message.send") socket.refuse(command, "rate_limited", { temporary: true, retry_after_s: 3 });
      else socket.ok(command);
    };
    server.socket.hello();
    await soon();
    expect(own.outbox.items.map((item) => item.key)).toEqual([both.key]);
    other.outbox.remove(both.key);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(server.sockets.flatMap(sends).length, "the one time before it was taken back").toBe(1);
    expect(own.outbox.items).toEqual([]);
  });

  it("is sent all the same where the storage keeps nothing", async () => {
    const chat = await opened({ keeper: { load: () => [], put: () => undefined, remove: () => undefined } });
    server.socket.lose();
    chat.say(SESSION, "one");
    chat.say(SESSION, "two");
    await soon();
    server.socket.hello();
    await soon();
    expect(sends(server.socket).map(([content]) => content)).toEqual(["one", "two"]);
  });
});

describe("another person's sign-in", () => {
  it("is not used by a page that was signed out before it, until one begins again", async () => {
    server.pages["GET /api/me/"] = () =>
      new Response(JSON.stringify({ error: { code: "not_authenticated", message: "", temporary: false } }), { status: 401 });
    const chat = await opened();
    server.socket.lose(4401);
    await soon();
    expect(chat.connection.state.status).toBe("signed_out");
    const asked = server.requests.length;
    await chat.sessions.refresh();
    await expect(chat.resolve("i", { approved: true })).rejects.toMatchObject({ code: "not_authenticated" });
    expect(server.requests.length).toBe(asked);
    chat.start();
    await soon();
    server.socket.hello();
    await soon();
    expect(server.requests.length).toBeGreaterThan(asked);
  });

  it("sends nothing that was left unsent, and asks for nothing", async () => {
    const chat = await opened();
    server.socket.lose(4401);
    chat.say(SESSION, "Ada's own");
    await vi.advanceTimersByTimeAsync(600);
    server.socket.hello(20, "ben");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(chat.connection.state.status).toBe("signed_out");
    expect(server.sockets.flatMap((socket) => socket.heard("message.send"))).toEqual([]);
    expect(chat.outbox.items.map((item) => item.content)).toEqual(["Ada's own"]);
    const asked = server.requests.length;
    await chat.sessions.refresh();
    await expect(chat.resolve("i", { approved: true })).rejects.toMatchObject({ code: "not_authenticated" });
    expect(server.requests.length).toBe(asked);
  });
});
