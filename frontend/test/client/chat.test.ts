import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Chat, type ChatOptions } from "../../src/client/client";
import type { Keeper, Unsent } from "../../src/client/outbox";
import type { Frame, Snapshot } from "../../src/client/wire";
import { load } from "../recordings";
import { type Command, FakeServer, type FakeSocket, listOf } from "./server";

const { frames, recording } = load("resumed");
const SESSION = recording.session_id;
const EVENTS = frames.filter((frame) => frame.seq !== null);
let server: FakeServer;

function blank(): Snapshot {
  const { messages: _m, runs: _r, interrupts: _i, ...session } = recording.state;
  return { ...session, status: "new", last_seq: 1, messages: [], runs: [], interrupts: [] };
}

function client(more: Partial<ChatOptions> = {}): Chat {
  return new Chat({ base: "http://chat", fetch: server.fetch, openSocket: server.openSocket, socket: "cookie", random: () => 0, ...more });
}

async function opened(more: Partial<ChatOptions> = {}): Promise<Chat> {
  server.pages[`GET /api/sessions/${SESSION}/`] = blank();
  const chat = client(more);
  chat.start();
  await soon();
  server.socket.hello();
  await chat.open(SESSION);
  await soon();
  return chat;
}

/** What the tabs of one browser share. */
function storage(): { keeper: Keeper; kept: Map<string, Unsent> } {
  const kept = new Map<string, Unsent>();
  const keeper = { load: () => [...kept.values()], put: (item: Unsent) => void kept.set(item.key, item), remove: (key: string) => void kept.delete(key) };
  return { keeper, kept };
}

const soon = () => vi.advanceTimersByTimeAsync(1);
const subscribed = (socket: FakeSocket) => socket.heard("session.subscribe").map((command) => command.data["after"]);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
});
afterEach(() => vi.useRealTimers());

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

describe("older messages", () => {
  const MESSAGES = `/api/sessions/${SESSION}/messages/`;
  const model = recording.state.messages[0]!;
  const said = (number: number) => ({ ...model, message_id: `m${number}`, key: null });
  const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const shown = (chat: Chat) => [...chat.opened.get(SESSION)!.talk.messages.keys()];
  const ids = (from: number, to: number) => numbers(from, to).map((number) => `m${number}`);
  const asks = () => server.requests.filter((request) => request.path.includes(MESSAGES)).length;
  let last: number;

  /** A session of `count` messages, of which the newest 50 are shown; and then as many more on the socket. */
  async function long(count: number, live = 0, more: Partial<ChatOptions> = {}): Promise<Chat> {
    last = count;
    server.pages[`GET ${MESSAGES}`] = listOf(MESSAGES, () => numbers(1, last).reverse().map(said));
    const chat = await opened(more);
    server.pages[`GET /api/sessions/${SESSION}/`] = { ...blank(), messages: numbers(count - 49, count).map(said) };
    await chat.talks.reload(SESSION);
    for (const number of numbers(count + 1, count + live)) {
      const seq = number - count + 1;
      server.socket.tell({ type: "message.created", session_id: SESSION, seq, data: { ...said(number) } });
    }
    last += live;
    return chat;
  }

  it("are reached down to the first, however many came while one looked on", async () => {
    const chat = await long(180, 220);
    await chat.loadOlder(SESSION);
    expect(shown(chat).length).toBeGreaterThan(270);
    for (let tries = 0; tries < 3; tries++) await chat.loadOlder(SESSION);
    expect(shown(chat)).toEqual(ids(1, 400));
    expect(chat.opened.get(SESSION)!.older).toBeNull();
  });

  it("come alone while there is no socket: what was said meanwhile comes by it, at its place", async () => {
    const chat = await long(120);
    server.socket.lose();
    last = 360;
    await chat.loadOlder(SESSION);
    await chat.loadOlder(SESSION);
    expect(shown(chat)).toEqual(ids(1, 120));
    server.socket.hello();
    await soon();
    for (const number of numbers(121, 360)) {
      server.socket.tell({ type: "message.created", session_id: SESSION, seq: number - 119, data: { ...said(number) } });
    }
    expect(shown(chat)).toEqual(ids(1, 360));
  });

  it("that cannot be read are told as such, and asked for again after a while and not at each turn of a wheel", async () => {
    const chat = await long(120, 0, { random: () => 1 });
    const row = chat.opened.get(SESSION)!;
    server.online = false;
    const before = asks();
    await chat.loadOlder(SESSION);
    expect([row.olderFailed, row.loadingOlder]).toEqual([true, false]);
    for (let turns = 0; turns < 20; turns++) await chat.loadOlder(SESSION);
    expect(asks() - before).toBe(1);
    server.online = true;
    await vi.advanceTimersByTimeAsync(500);
    await chat.loadOlder(SESSION);
    expect(row.olderFailed).toBe(false);
    expect(shown(chat)).toEqual(ids(1, 120));
  });

  it("of a session that was read anew meanwhile are left alone", async () => {
    const chat = await long(300);
    let answer = (_page: object): void => undefined;
    server.pages[`GET ${MESSAGES}`] = () => new Promise<object>((resolve) => (answer = resolve));
    const loading = chat.loadOlder(SESSION);
    await soon();
    server.pages[`GET /api/sessions/${SESSION}/`] = { ...blank(), last_seq: 601, messages: numbers(851, 900).map(said) };
    await chat.talks.reload(SESSION);
    answer({ results: numbers(151, 300).reverse().map(said), next: null, previous: null });
    await loading;
    expect(shown(chat)).toEqual(ids(851, 900));
    expect(chat.opened.get(SESSION)!.older, "they can be asked for").toBeUndefined();
  });
});

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

describe("requests", () => {
  it("carry the CSRF token with the cookie, and a bearer's token without", async () => {
    await client({ csrf: () => "crumb" }).api.createSession();
    expect(server.requests[0]!.headers["X-CSRFToken"]).toBe("crumb");
    await client({ token: () => "jwt", csrf: () => "crumb" }).api.createSession();
    expect(server.requests[1]!.headers["Authorization"]).toBe("Bearer jwt");
    expect(server.requests[1]!.headers["X-CSRFToken"]).toBeUndefined();
  });

  it("open the socket by a ticket where there is no cookie", async () => {
    server.pages["POST /api/ws-tickets/"] = { ticket: "t&1" };
    const chat = client({ token: () => "jwt", socket: "ticket" });
    chat.start();
    await soon();
    expect(server.socket.url).toBe("ws://chat/ws/?ticket=t%261");
  });

  it("are told apart: refused with a code, or offline", async () => {
    server.pages["GET /api/me/"] = new Response("<h1>Bad gateway</h1>", { status: 502 });
    await expect(client().api.me()).rejects.toMatchObject({ code: "unavailable", temporary: true });
    server.online = false;
    await expect(client().api.me()).rejects.toMatchObject({ name: "Offline" });
  });
});
