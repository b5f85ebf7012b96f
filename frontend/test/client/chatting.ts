/** A client of a test's own server, on false time: importing it begins each test of a file with a new server. */

import { afterEach, beforeEach, vi } from "vitest";
import { Chat, type ChatOptions } from "../../src/client/client";
import type { Keeper, Unsent } from "../../src/client/outbox";
import type { Snapshot } from "../../src/client/wire";
import { load } from "../recordings";
import { FakeServer, type FakeSocket } from "./server";

export const { frames, recording } = load("resumed");
export const SESSION = recording.session_id;
export const EVENTS = frames.filter((frame) => frame.seq !== null);
export let server: FakeServer; // a new one for each test

export function blank(): Snapshot {
  const { messages: _m, runs: _r, interrupts: _i, ...session } = recording.state;
  return { ...session, status: "new", last_seq: 1, messages: [], runs: [], interrupts: [] };
}

export function client(more: Partial<ChatOptions> = {}): Chat {
  return new Chat({ base: "http://chat", fetch: server.fetch, openSocket: server.openSocket, socket: "cookie", random: () => 0, ...more });
}

export async function opened(more: Partial<ChatOptions> = {}): Promise<Chat> {
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
export function storage(): { keeper: Keeper; kept: Map<string, Unsent> } {
  const kept = new Map<string, Unsent>();
  const keeper = { load: () => [...kept.values()], put: (item: Unsent) => void kept.set(item.key, item), remove: (key: string) => void kept.delete(key) };
  return { keeper, kept };
}

export const soon = () => vi.advanceTimersByTimeAsync(1);
export const subscribed = (socket: FakeSocket) => socket.heard("session.subscribe").map((command) => command.data["after"]);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
});
afterEach(() => vi.useRealTimers());
