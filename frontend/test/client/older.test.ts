import { describe, expect, it, vi } from "vitest";
import type { Chat, ChatOptions } from "../../src/client/client";
import { blank, opened, recording, server, SESSION, soon } from "./chatting";
import { listOf } from "./server";

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
