/** What was said and the server has not confirmed yet: sent in order, each under one key for ever. */

import { delayS } from "./backoff";
import { Offline, Refused } from "./errors";
import { parse, stringify } from "./exact";
import { newKey } from "./text";
import type { Id, SendOptions } from "./wire";

export interface Unsent {
  readonly key: string;
  readonly session_id: Id;
  readonly content: string;
  readonly options: SendOptions;
  readonly at: number;
  /**
   * Why the server did not take it. A temporary problem is what the last try met, and it is tried again by itself;
   * with any other it waits here for the person to decide.
   */
  readonly problem: { code: string; message: string; temporary: boolean } | null;
  /** The server has it; it is shown from here until its event comes. */
  readonly sent: boolean;
}

/** Where unsent messages outlive a page, and where its other tabs find them: the names and values of localStorage. */
export interface Keeper {
  load(): Unsent[];
  put(item: Unsent): void;
  remove(key: string): void;
}

export interface Posted {
  message_id: Id;
  run_id: Id;
  duplicate: boolean;
}

export interface OutboxOptions {
  /** Rejects with Offline where it must be tried again with the same key. */
  send: (item: Unsent) => Promise<Posted>;
  keeper?: Keeper;
  random?: () => number;
}

export class Outbox {
  items: readonly Unsent[] = [];
  private readonly options: OutboxOptions;
  private readonly listeners = new Set<() => void>();
  private readonly busy = new Set<Id>(); // one message of a session at a time keeps their order
  private readonly failures = new Map<Id, number>();
  private kept: ReadonlySet<string> = new Set(); // what the keeper held at the last look
  private open = false;

  constructor(options: OutboxOptions) {
    this.options = options;
    this.look(true);
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  of(sessionId: Id): Unsent[] {
    return this.items.filter((item) => item.session_id === sessionId);
  }

  add(sessionId: Id, content: string, options: SendOptions = {}): Unsent {
    const item: Unsent = {
      key: newKey(),
      session_id: sessionId,
      content,
      options,
      at: Date.now(),
      problem: null,
      sent: false,
    };
    this.options.keeper?.put(item);
    this.set([...this.items, item]);
    this.look();
    this.pump(sessionId);
    return item;
  }

  /** Take a message back that the server refused, or that waits for a connection. */
  remove(key: string): Unsent | undefined {
    const item = this.items.find((one) => one.key === key);
    this.options.keeper?.remove(key);
    this.set(this.items.filter((one) => one.key !== key));
    if (item) this.pump(item.session_id);
    return item;
  }

  /** Try a refused message again. */
  again(key: string): void {
    const item = this.change(key, { problem: null });
    if (item) this.pump(item.session_id);
  }

  /** The event of a message came: whoever shows it takes over. */
  confirmed(key: string): void {
    if (this.items.some((item) => item.key === key)) this.remove(key);
  }

  /** A socket is ready. */
  resume(): void {
    this.open = true;
    this.failures.clear();
    this.look(true);
    for (const sessionId of new Set(this.items.map((item) => item.session_id))) this.pump(sessionId);
  }

  pause(): void {
    this.open = false;
  }

  /**
   * Other tabs have the same keeper: what they sent or took back is not sent here. What they left is, from the next
   * socket on; where one of them still lives and sends it as well, its key makes that harmless.
   */
  private look(takeOver = false): void {
    const kept = new Map(this.options.keeper?.load().map((item) => [item.key, item]));
    // A storage that is full never held it: that is not taken back.
    const stay = this.items.filter((item) => item.sent || kept.has(item.key) || !this.kept.has(item.key));
    this.kept = new Set(kept.keys());
    for (const item of stay) kept.delete(item.key);
    const theirs = takeOver ? [...kept.values()] : [];
    if (stay.length < this.items.length || theirs.length) this.set([...stay, ...theirs].sort((a, b) => a.at - b.at));
  }

  private pump(sessionId: Id): void {
    if (!this.open || this.busy.has(sessionId)) return;
    this.look();
    const item = this.items.find((one) => one.session_id === sessionId && !one.sent);
    // What comes after a refused one was said in the belief that it would be heard.
    if (!item || (item.problem && !item.problem.temporary)) return;
    this.busy.add(sessionId);
    this.options
      .send(item)
      .then(
        () => {
          this.failures.delete(sessionId);
          this.options.keeper?.remove(item.key);
          this.change(item.key, { sent: true, problem: null });
          return 0;
        },
        (problem: unknown) => this.failed(item, problem),
      )
      .then((waitMs) => {
        const on = () => {
          this.busy.delete(sessionId);
          this.pump(sessionId);
        };
        if (waitMs > 0) setTimeout(on, waitMs);
        else on();
      });
  }

  /** How long to wait before the next try, in milliseconds. */
  private failed(item: Unsent, problem: unknown): number {
    this.look();
    const failures = (this.failures.get(item.session_id) ?? 0) + 1;
    this.failures.set(item.session_id, failures);
    if (problem instanceof Refused) {
      const { code, message } = problem;
      const temporary = problem.temporary && code !== "busy"; // who asked to be refused then is told so
      this.change(item.key, { problem: { code, message, temporary } });
      return temporary ? delayS(failures, problem.retryAfterS, this.options.random) * 1000 : 0;
    }
    if (!this.open) return 0; // the next socket takes it up
    if (!(problem instanceof Offline)) console.error(problem);
    return delayS(failures, null, this.options.random) * 1000;
  }

  private change(key: string, change: Partial<Unsent>): Unsent | undefined {
    let changed: Unsent | undefined;
    const items = this.items.map((item) => (item.key === key ? (changed = { ...item, ...change }) : item));
    if (changed && !changed.sent) this.options.keeper?.put(changed);
    this.set(items);
    return changed;
  }

  private set(items: readonly Unsent[]): void {
    this.items = items;
    for (const listener of this.listeners) listener();
  }
}

/** Keeps unsent messages in localStorage, an entry each, so that two tabs never write over each other. */
export function storageKeeper(storage: Storage, prefix: string): Keeper {
  return {
    load() {
      const found: Unsent[] = [];
      for (let index = 0; index < storage.length; index++) {
        const name = storage.key(index);
        if (!name?.startsWith(prefix)) continue;
        try {
          found.push({ ...(parse(storage.getItem(name) ?? "") as Unsent), sent: false });
        } catch {
          storage.removeItem(name);
        }
      }
      return found.sort((a, b) => a.at - b.at);
    },
    put(item) {
      try {
        storage.setItem(prefix + item.key, stringify(item));
      } catch {
        // A full or forbidden storage: it is sent all the same, only a closed page would forget it.
      }
    },
    remove(key) {
      try {
        storage.removeItem(prefix + key);
      } catch {
        // As above.
      }
    },
  };
}
