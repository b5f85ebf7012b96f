/**
 * The WebSocket half of the wire: one socket at a time, opened again whenever it is lost.
 * Whoever uses it is told each frame, and when a socket is ready; what to resume from is theirs to know.
 */

import { delayS } from "./backoff";
import { Offline, Refused } from "./errors";
import { parse, stringify } from "./exact";
import type { ErrorData, Frame, User } from "./wire";

export type Status = "connecting" | "online" | "offline" | "signed_out" | "refused" | "stopped";

export interface ConnectionState {
  readonly status: Status;
  /** The close code that ended the last socket, 0 where there was none. */
  readonly code: number;
  /** When the next try is made, in milliseconds since the epoch; null while none is planned. */
  readonly nextTryAt: number | null;
  readonly failures: number;
}

/** The part of a WebSocket that is used: a test gives its own. */
export interface SocketLike {
  readyState: number;
  send(text: string): void;
  close(code?: number): void;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onerror: ((event: unknown) => void) | null;
}

export interface ConnectionOptions {
  /** Whose connection it is; without it, the first socket tells. */
  userId?: string;
  /** Where the socket is, with a ticket when there has to be one. Asked before every try. */
  address: () => Promise<string>;
  openSocket?: (url: string) => SocketLike;
  onFrame: (frame: Frame) => void;
  onReady: () => void;
  /** Whether one is still signed in; asked when a socket was refused for that. */
  stillSignedIn?: () => Promise<boolean>;
  random?: () => number;
  answerS?: number;
}

export const CLOSED = { signedOut: 4401, origin: 4403, slow: 4408, restart: 4412, flood: 4413, tooMany: 4429 } as const;

const SETTLED_MS = 2000; // a socket that lived this long starts the delays over
const OPEN = 1; // a WebSocket's readyState
const OPENING_MS = 10_000;
const SILENCE_MS = 10_000; // after a ping

/** The server says so without a `ref`, as it does not read such a frame: whose it was, nobody could tell. */
const TOO_LARGE: ErrorData = { code: "too_large", message: "This is too large for the connection.", temporary: false };

interface Asked {
  resolve: (data: Record<string, unknown>) => void;
  reject: (problem: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

export class Connection {
  state: ConnectionState = { status: "stopped", code: 0, nextTryAt: null, failures: 0 };
  user: User | null = null;
  /** Somebody else has signed in, here or in another tab: nothing more is sent or asked, until the page is loaded anew. */
  over = false;
  limits: Record<string, unknown> = {};

  private readonly options: ConnectionOptions;
  private userId: string | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly asked = new Map<string, Asked>();
  private socket: SocketLike | null = null;
  private ready = false;
  private refs = 0;
  private tries = 0; // tells a socket that was given up from the one that counts
  private openedAt = 0;
  private heartbeatMs = 20_000;
  private lastError: Refused | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private beatTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.userId = options.userId;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  get isReady(): boolean {
    return this.ready;
  }

  /** Connect, and again whenever it is lost, until `stop`. Also the answer to "reconnect now". */
  start(): void {
    if (this.over) return;
    clearTimeout(this.retryTimer);
    if (this.socket && (this.ready || this.state.status === "connecting")) return;
    void this.open();
  }

  /** The network came back, or the page woke up: look at once whether the socket still lives. */
  check(): void {
    if (this.state.status === "offline") this.start();
    else if (this.ready) this.beat();
  }

  stop(): void {
    this.tries++;
    this.drop("stopped", 0);
    clearTimeout(this.retryTimer);
  }

  /** Send a command and wait for its one answer. Rejects with Refused, or Offline: it may or may not have been done. */
  ask<Data = Record<string, unknown>>(type: string, data: object): Promise<Data> {
    const socket = this.socket;
    // A socket that is closing takes nothing more, and may be so for a while before it says that it is closed.
    if (!socket || !this.ready || socket.readyState !== OPEN) return Promise.reject(new Offline());
    const ref = String(++this.refs);
    const text = stringify({ type, ref, data });
    if (isLonger(text, this.limits["frame_max_bytes"])) return Promise.reject(new Refused(TOO_LARGE));
    return new Promise<Data>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.asked.delete(ref);
        reject(new Offline("The server did not answer."));
        this.giveUp(socket); // the next one begins again with all that has to be asked
      }, (this.options.answerS ?? 20) * 1000);
      this.asked.set(ref, { resolve: resolve as Asked["resolve"], reject, timer });
      socket.send(text);
    });
  }

  /** Send a command whose answer nobody waits for. */
  tell(type: string, data: object): void {
    this.ask(type, data).catch(() => undefined);
  }

  private async open(): Promise<void> {
    const mine = ++this.tries;
    this.set({ status: "connecting", nextTryAt: null });
    this.lastError = null;
    let socket: SocketLike;
    try {
      const url = await this.options.address();
      if (mine !== this.tries) return;
      socket = this.options.openSocket ? this.options.openSocket(url) : (new WebSocket(url, "chat.v1") as SocketLike);
    } catch (problem) {
      if (mine !== this.tries) return;
      if (problem instanceof Refused) this.lastError = problem;
      void this.lost(problem instanceof Refused && problem.code === "not_authenticated" ? CLOSED.signedOut : 0);
      return;
    }
    this.socket = socket;
    this.openedAt = Date.now();
    this.beatTimer = setTimeout(() => this.giveUp(socket), OPENING_MS);
    socket.onopen = null;
    socket.onerror = null;
    socket.onmessage = (event) => {
      if (socket === this.socket && typeof event.data === "string") this.take(parse(event.data) as Frame);
    };
    socket.onclose = (event) => {
      if (socket === this.socket) void this.lost(event.code);
    };
  }

  private take(frame: Frame): void {
    clearTimeout(this.beatTimer);
    this.beatTimer = setTimeout(() => this.beat(), this.heartbeatMs);
    const asked = frame.ref ? this.asked.get(frame.ref) : undefined;
    if (asked && frame.ref) {
      this.asked.delete(frame.ref);
      clearTimeout(asked.timer);
    }
    if (frame.type === "connection.ready") {
      const hello = frame.data as { user?: User; heartbeat_s?: number; limits?: Record<string, unknown> };
      const userId = hello.user?.user_id;
      if (userId !== undefined && userId !== (this.userId ??= userId)) return this.end();
      this.user = hello.user ?? null;
      this.limits = hello.limits ?? {};
      this.heartbeatMs = (hello.heartbeat_s ?? 20) * 1000;
      this.ready = true;
      this.set({ status: "online", code: 0, nextTryAt: null });
      this.options.onReady();
    } else if (frame.type === "ok" || frame.type === "pong") {
      asked?.resolve(frame.data);
    } else if (frame.type === "error") {
      const problem = new Refused(frame.data as unknown as ErrorData);
      if (asked) asked.reject(problem);
      else if (frame.session_id) this.options.onFrame(frame);
      else this.lastError = problem; // of the socket itself; its close follows
    } else {
      this.options.onFrame(frame);
    }
  }

  /** Nothing came for a while: ask whether somebody is there, and leave when nobody is. */
  private beat(): void {
    const socket = this.socket;
    if (!socket) return;
    clearTimeout(this.beatTimer);
    this.beatTimer = setTimeout(() => this.giveUp(socket), SILENCE_MS);
    this.tell("ping", {});
  }

  private giveUp(socket: SocketLike): void {
    if (socket !== this.socket) return;
    void this.lost(1006); // not waiting for a close that a dead network never brings
  }

  /** The cookie is another person's now: what one sees and has not sent is not theirs. */
  private end(): void {
    this.over = true;
    this.drop("signed_out", CLOSED.signedOut);
  }

  private async lost(code: number): Promise<void> {
    const wasReady = this.ready;
    if (wasReady && Date.now() - this.openedAt > SETTLED_MS) this.set({ failures: 0 });
    const failures = this.state.failures + 1;
    this.drop("offline", code);
    this.set({ failures });
    const mine = this.tries;
    if (code === CLOSED.origin) return this.set({ status: "refused" });
    if (code === CLOSED.signedOut) {
      const signedIn = await (this.options.stillSignedIn?.() ?? Promise.resolve(false)).catch(() => true);
      if (mine !== this.tries) return;
      if (!signedIn) return this.set({ status: "signed_out" });
    }
    const wait = delayS(failures, this.lastError?.retryAfterS ?? null, this.options.random) * 1000;
    this.set({ nextTryAt: Date.now() + wait });
    this.retryTimer = setTimeout(() => void this.open(), wait);
  }

  private drop(status: Status, code: number): void {
    clearTimeout(this.beatTimer);
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.onerror = () => undefined;
      if (socket.readyState < 2) socket.close();
    }
    const left = [...this.asked.values()];
    this.asked.clear();
    for (const one of left) {
      clearTimeout(one.timer);
      one.reject(new Offline());
    }
    this.set({ status, code, nextTryAt: null });
  }

  private set(change: Partial<ConnectionState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }
}

function isLonger(text: string, bytes: unknown): boolean {
  if (typeof bytes !== "number" || text.length * 3 <= bytes) return false; // no character of UTF-16 takes more
  return new TextEncoder().encode(text).length > bytes;
}
