/** A server of a test's own: it hears commands, answers them or not, and closes its sockets when told to. */

import type { SocketLike } from "../../src/client/connection";
import type { Frame } from "../../src/client/wire";

export interface Command {
  type: string;
  ref: string;
  data: Record<string, unknown>;
}

export class FakeSocket implements SocketLike {
  readyState = 1;
  onopen = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  commands: Command[] = [];
  closed = false;

  constructor(
    readonly url: string,
    private readonly answer: (command: Command, socket: FakeSocket) => void,
  ) {}

  send(text: string): void {
    const command = JSON.parse(text) as Command;
    this.commands.push(command);
    this.answer(command, this);
  }

  close(): void {
    this.closed = true;
    this.readyState = 3;
  }

  tell(frame: Partial<Frame> & { type: string }): void {
    const whole = { session_id: null, run_id: null, seq: null, at: null, data: {}, ...frame };
    this.onmessage?.({ data: JSON.stringify(whole) });
  }

  hello(heartbeat_s = 20, username = "ada"): void {
    const user = { user_id: `id of ${username}`, username, name: username };
    this.tell({ type: "connection.ready", data: { user, heartbeat_s, limits: { frame_max_bytes: 131_072 } } });
  }

  ok(command: Command, data: Record<string, unknown> = {}): void {
    this.tell({ type: "ok", ref: command.ref, data });
  }

  refuse(command: Command, code: string, more: object = {}): void {
    this.tell({ type: "error", ref: command.ref, data: { code, message: code, temporary: false, ...more } });
  }

  lose(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  heard(type: string): Command[] {
    return this.commands.filter((command) => command.type === type);
  }
}

type Listing = (asked: URLSearchParams) => object | Promise<object>;

/** A list as the server gives it: `rows` newest first, at most 200 of them at once. */
export function listOf(path: string, rows: () => readonly object[]): Listing {
  return (asked) => {
    const limit = Number(asked.get("limit") ?? 50);
    if (limit > 200) {
      const error = { code: "invalid_input", message: "", temporary: false };
      return new Response(JSON.stringify({ error }), { status: 400 });
    }
    const all = rows();
    const begin = Number(asked.get("cursor") ?? 0);
    const end = begin + limit;
    const next = end < all.length ? `http://chat${path}?limit=${limit}&cursor=${end}` : null;
    return { results: all.slice(begin, end), next, previous: null };
  };
}

export class FakeServer {
  sockets: FakeSocket[] = [];
  requests: { method: string; path: string; body: unknown; headers: Record<string, string> }[] = [];
  pages: Record<string, unknown> = {};
  online = true;
  answer: (command: Command, socket: FakeSocket) => void = (command, socket) => socket.ok(command);

  openSocket = (url: string): FakeSocket => {
    const socket = new FakeSocket(url, (command, one) => this.answer(command, one));
    this.sockets.push(socket);
    return socket;
  };

  fetch = (async (path: string, init: RequestInit = {}) => {
    const method = init.method ?? "GET";
    const headers = init.headers as Record<string, string>;
    this.requests.push({ method, path, body: init.body ? JSON.parse(String(init.body)) : undefined, headers });
    if (!this.online) throw new TypeError("no network");
    const { pathname, searchParams } = new URL(path, "http://chat");
    const known = this.pages[`${method} ${pathname}`];
    const page: unknown = typeof known === "function" ? await (known as Listing)(searchParams) : known;
    if (page instanceof Response) return page.clone();
    if (page === undefined) return new Response(JSON.stringify({ results: [], next: null, previous: null }));
    return new Response(JSON.stringify(page));
  }) as typeof fetch;

  get socket(): FakeSocket {
    return this.sockets[this.sockets.length - 1]!;
  }
}
