/** The sessions that somebody looks at: read once, then followed on the socket, and resumed after each loss. */

import type { Api } from "./api";
import { delayS } from "./backoff";
import type { Connection } from "./connection";
import { Offline, Refused } from "./errors";
import { type Change, Talk } from "./fold";
import type { Frame, Id, Message, Run, Session, Snapshot } from "./wire";

export interface Opened {
  talk: Talk;
  status: "loading" | "ready" | "missing" | "failed";
  /** Where the older messages are: a page's address, undefined while none was asked for, null at the beginning. */
  older: string | null | undefined;
  loadingOlder: boolean;
  /** The last try to read older messages failed. It is made again, after a while, when it is asked for. */
  olderFailed: boolean;
  olderRuns: string | null;
}

export interface TalksOptions {
  api: Api;
  connection: Connection;
  onChange: (sessionId: Id) => void;
  /** A session was read: its row, and the keys of those of its messages that are one's own. */
  onRead: (session: Session, keys: readonly string[]) => void;
  random?: (() => number) | undefined;
}

const OLDER = 100;
const PAGE_MAX = 200; // the server refuses to list more at once
const SHOWN = 50; // messages that a session comes with

export class Talks {
  readonly opened = new Map<Id, Opened>();
  private readonly options: TalksOptions;
  /** Those whose subscription is asked for and has not begun, and the newest asking of each. */
  private readonly following = new Map<Opened, symbol>();
  /** Of those whose older messages could not be read: a reader who scrolls asks many times a second. */
  private readonly olderRests = new Map<Id, { failures: number; until: number }>();

  constructor(options: TalksOptions) {
    this.options = options;
  }

  /** Read a session and follow it from there. */
  async open(sessionId: Id): Promise<Opened> {
    const known = this.opened.get(sessionId);
    if (known && known.status !== "failed") return known;
    const opened: Opened = known ?? newOpened(sessionId);
    opened.status = "loading";
    this.opened.set(sessionId, opened);
    this.options.onChange(sessionId);
    await this.load(opened, sessionId);
    return opened;
  }

  /** Take a frame of an open session in. */
  feed(frame: Frame): Change {
    const opened = this.opened.get(frame.session_id ?? "");
    if (!opened || opened.status !== "ready") return "none";
    const change = opened.talk.feed(frame);
    // What an older subscription still sends fits nowhere until the new one has begun.
    if (change === "gap" && !this.following.has(opened)) void this.follow(opened);
    else if (change === "deleted") this.lose(opened.talk.sessionId);
    else if (change === "rows") this.options.onChange(opened.talk.sessionId);
    return change;
  }

  /** A socket is ready: go on where each session was left. */
  resume(): void {
    this.olderRests.clear();
    for (const [sessionId, opened] of this.opened) {
      if (opened.status === "ready") void this.follow(opened);
      else if (opened.status === "failed") void this.open(sessionId);
    }
  }

  /** Read a session anew: what is known of it may be out of date. */
  async reload(sessionId: Id): Promise<void> {
    const opened = this.opened.get(sessionId);
    if (opened) await this.load(opened, sessionId);
  }

  /** A session is gone, or one takes no part in it any more. */
  lose(sessionId: Id): void {
    const opened = this.opened.get(sessionId);
    if (opened) opened.status = "missing";
    this.options.onChange(sessionId);
  }

  async loadOlder(sessionId: Id): Promise<void> {
    const opened = this.opened.get(sessionId);
    if (!opened || opened.status !== "ready" || opened.loadingOlder || opened.older === null) return;
    const rest = this.olderRests.get(sessionId);
    if (rest && Date.now() < rest.until) return;
    opened.loadingOlder = true;
    this.options.onChange(sessionId);
    try {
      await this.readOlder(opened);
      opened.olderFailed = false;
      this.olderRests.delete(sessionId);
    } catch {
      opened.olderFailed = true;
      const failures = (rest?.failures ?? 0) + 1;
      this.olderRests.set(sessionId, { failures, until: Date.now() + delayS(failures, null, this.options.random) * 1000 });
    } finally {
      opened.loadingOlder = false;
      this.options.onChange(sessionId);
    }
  }

  /** Pages of the list until one holds something older: the first ones may be full of what is known. */
  private async readOlder(opened: Opened): Promise<void> {
    const { talk, older } = opened;
    const { api } = this.options;
    let page = await (older
      ? api.follow<Message>(older)
      : api.messages(talk.sessionId, Math.min(talk.messages.size + OLDER, PAGE_MAX)));
    for (;;) {
      if (opened.talk !== talk) return; // read anew meanwhile: another beginning
      opened.older = page.next;
      if (talk.addOlder(page.results) || !page.next) break;
      page = await api.follow<Message>(page.next);
    }
    void this.loadRuns(talk.sessionId, older ? opened.olderRuns : undefined);
  }

  private async follow(opened: Opened): Promise<void> {
    const mine = Symbol();
    this.following.set(opened, mine);
    try {
      await this.subscribe(opened, () => this.following.get(opened) === mine);
    } finally {
      if (this.following.get(opened) === mine) this.following.delete(opened);
    }
  }

  private async subscribe(opened: Opened, isWanted: () => boolean): Promise<void> {
    const { sessionId } = opened.talk;
    for (let failures = 0; isWanted() && this.opened.get(sessionId) === opened; failures++) {
      try {
        // The events behind it arrive before this promise is looked at: they fold by their seq, in any case.
        await this.options.connection.ask("session.subscribe", { session_id: sessionId, after: opened.talk.lastSeq });
        return;
      } catch (problem) {
        if (problem instanceof Offline) return; // the next socket begins again
        if (!(problem instanceof Refused)) throw problem;
        if (problem.code === "not_found") return this.lose(sessionId);
        if (problem.temporary || failures) await pause(delayS(failures + 1, problem.retryAfterS, this.options.random));
        if (problem.temporary || !isWanted()) continue;
        await this.read(opened, sessionId); // the log no longer reaches back
        if (opened.status !== "ready") return;
      }
    }
  }

  private async load(opened: Opened, sessionId: Id): Promise<void> {
    await this.read(opened, sessionId);
    if (opened.status === "ready" && this.options.connection.isReady) void this.follow(opened);
  }

  private async read(opened: Opened, sessionId: Id): Promise<void> {
    try {
      const snapshot = await this.options.api.session(sessionId);
      if (this.opened.get(sessionId) !== opened) return;
      this.show(opened, snapshot);
      void this.loadRuns(sessionId);
    } catch (problem) {
      opened.status = problem instanceof Refused && problem.code === "not_found" ? "missing" : "failed";
    }
    this.options.onChange(sessionId);
  }

  private show(opened: Opened, snapshot: Snapshot): void {
    opened.talk = Talk.of(snapshot);
    opened.older = snapshot.messages.length < SHOWN ? null : undefined;
    opened.olderFailed = false;
    opened.status = "ready";
    const { messages, runs: _runs, interrupts: _interrupts, ...session } = snapshot;
    this.options.onRead(
      session,
      messages.flatMap((row) => row.key ?? []),
    );
  }

  /** The runs behind the answers that are shown: their tokens, cost and time. */
  private async loadRuns(sessionId: Id, from?: string | null): Promise<void> {
    if (from === null) return;
    try {
      const page = await (from === undefined ? this.options.api.runs(sessionId, 100) : this.options.api.follow<Run>(from));
      const opened = this.opened.get(sessionId);
      if (!opened) return;
      opened.olderRuns = page.next;
      opened.talk.addRuns(page.results);
      this.options.onChange(sessionId);
    } catch {
      // Without them an answer is shown all the same.
    }
  }
}

function newOpened(sessionId: Id): Opened {
  return {
    talk: new Talk(sessionId),
    status: "loading",
    older: undefined,
    loadingOlder: false,
    olderFailed: false,
    olderRuns: null,
  };
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
