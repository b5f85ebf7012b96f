/**
 * One person at one server: the sessions that are open, what is unsent, the list, the inbox.
 *
 * Everything that can be shown is read from here, and `topics` tells when it changed:
 * `connection`, `outbox`, `sessions`, `inbox`, `talk:<session>`, `draft:<message>`, `typing:<session>`, `problem`.
 */

import { Api, type ApiOptions, type SessionChange } from "./api";
import { delayS } from "./backoff";
import { Connection, type SocketLike } from "./connection";
import { Offline, Refused } from "./errors";
import { type Draft, Talk } from "./fold";
import { Inbox } from "./inbox";
import { type Keeper, Outbox, type Posted, type Unsent } from "./outbox";
import { SessionList, WATCHED } from "./sessions";
import { Topics } from "./topics";
import { TypingBoard } from "./typing";
import type { Answer, Frame, Id, Message, Run, SendOptions, Session, Snapshot } from "./wire";

export interface ChatOptions extends ApiOptions {
  /** `cookie` where the page is the server's own, else `ticket`. */
  socket?: "cookie" | "ticket";
  openSocket?: (url: string) => SocketLike;
  keeper?: Keeper;
  random?: () => number;
  answerS?: number;
}

/** A session that somebody looks at. */
export interface Opened {
  talk: Talk;
  status: "loading" | "ready" | "missing" | "failed";
  /** Where the older messages are: a page's address, undefined while none was asked for, null at the beginning. */
  older: string | null | undefined;
  loadingOlder: boolean;
  olderRuns: string | null;
  subscribed: boolean;
}

const OLDER = 100;

export class Chat {
  readonly topics = new Topics();
  readonly api: Api;
  readonly connection: Connection;
  readonly outbox: Outbox;
  readonly sessions: SessionList;
  readonly inbox: Inbox;
  readonly typing: TypingBoard;
  readonly opened = new Map<Id, Opened>();
  private readonly options: ChatOptions;
  private readonly watched = new Set<Id>();
  private readonly stopping = new Set<Id>(); // runs whose stop was not answered yet
  private watchTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ChatOptions = {}) {
    this.options = options;
    this.api = new Api(options);
    this.connection = new Connection({
      address: () => this.address(),
      onFrame: (frame) => this.take(frame),
      onReady: () => this.ready(),
      stillSignedIn: () => this.stillSignedIn(),
      ...(options.openSocket && { openSocket: options.openSocket }),
      ...(options.random && { random: options.random }),
      ...(options.answerS && { answerS: options.answerS }),
    });
    this.connection.subscribe(() => {
      if (!this.connection.isReady) this.unready();
      this.topics.tell("connection");
    });
    this.outbox = new Outbox({
      send: (item) => this.post(item),
      ...(options.keeper && { keeper: options.keeper }),
      ...(options.random && { random: options.random }),
    });
    this.outbox.subscribe(() => this.topics.tell("outbox"));
    this.sessions = new SessionList(this.api, () => {
      this.topics.tell("sessions");
      this.watchSoon();
    });
    this.inbox = new Inbox(this.api, () => this.topics.tell("inbox"));
    this.typing = new TypingBoard((sessionId) => this.topics.tell(`typing:${sessionId}`));
  }

  start(): void {
    this.connection.start();
  }

  stop(): void {
    clearTimeout(this.watchTimer);
    this.connection.stop();
    this.typing.stop();
  }

  // --- sessions -------------------------------------------------------------------------------------------------

  /** Read a session and follow it from there. */
  async open(sessionId: Id): Promise<Opened> {
    const known = this.opened.get(sessionId);
    if (known && known.status !== "failed") return known;
    const opened: Opened = known ?? newOpened(sessionId);
    opened.status = "loading";
    this.opened.set(sessionId, opened);
    this.changed(sessionId);
    await this.load(opened, sessionId);
    return opened;
  }

  /** Follow a session no more. */
  leave(sessionId: Id): void {
    if (!this.opened.delete(sessionId)) return;
    this.typing.forget(sessionId);
    if (this.watched.has(sessionId)) return; // the list goes on with the same subscription
    if (this.connection.isReady) this.connection.tell("session.unsubscribe", { session_id: sessionId });
  }

  async createSession(body: { title?: string; agent?: string } = {}): Promise<Session> {
    const session = await this.api.createSession(body);
    this.sessions.put(session, true);
    return session;
  }

  async changeSession(sessionId: Id, change: SessionChange): Promise<void> {
    this.sessions.put(await this.api.updateSession(sessionId, change));
  }

  async archive(sessionId: Id, closed: boolean): Promise<void> {
    this.sessions.put(await (closed ? this.api.closeSession(sessionId) : this.api.reopenSession(sessionId)));
  }

  async remove(sessionId: Id): Promise<void> {
    await this.api.deleteSession(sessionId);
    this.sessions.remove(sessionId);
    this.lose(sessionId);
  }

  async loadOlder(sessionId: Id): Promise<void> {
    const opened = this.opened.get(sessionId);
    if (!opened || opened.status !== "ready" || opened.loadingOlder || opened.older === null) return;
    opened.loadingOlder = true;
    this.changed(sessionId);
    try {
      const first = opened.older === undefined;
      const page = await (opened.older === undefined
        ? this.api.messages(sessionId, opened.talk.messages.size + OLDER)
        : this.api.follow<Message>(opened.older));
      opened.older = page.next;
      opened.talk.addOlder(page.results);
      void this.loadRuns(sessionId, first ? undefined : opened.olderRuns);
    } catch {
      // Asked for again by the next scroll.
    } finally {
      opened.loadingOlder = false;
      this.changed(sessionId);
    }
  }

  // --- talking --------------------------------------------------------------------------------------------------

  say(sessionId: Id, content: string, options: SendOptions = {}): Unsent {
    return this.outbox.add(sessionId, content, options);
  }

  /** Stop an answer; without a connection, as soon as there is one. */
  cancel(runId: Id): void {
    this.stopping.add(runId);
    void this.sendStop(runId);
  }

  isStopping(runId: Id): boolean {
    return this.stopping.has(runId);
  }

  retry(runId: Id): Promise<{ run_id: Id }> {
    return this.connection.ask("run.retry", { run_id: runId });
  }

  move(runId: Id, before: Id | null): Promise<unknown> {
    return this.connection.ask("run.move", { run_id: runId, before });
  }

  edit(messageId: Id, content: string): Promise<unknown> {
    return this.connection.ask("message.update", { message_id: messageId, content });
  }

  /** Over the socket where there is one, else over HTTP: a question must not wait for a socket. */
  async resolve(interruptId: Id, answer: Answer): Promise<void> {
    if (this.connection.isReady) await this.connection.ask("interrupt.resolve", { interrupt_id: interruptId, answer });
    else await this.api.resolve(interruptId, answer);
    this.inbox.settled(interruptId);
  }

  draft(sessionId: Id, messageId: Id): Draft | undefined {
    return this.opened.get(sessionId)?.talk.drafts.get(messageId);
  }

  // --- the socket -----------------------------------------------------------------------------------------------

  private async address(): Promise<string> {
    const base = new URL(this.api.base || location.origin, typeof location === "undefined" ? undefined : location.href);
    const url = `${base.protocol === "https:" ? "wss:" : "ws:"}//${base.host}/ws/`;
    const byTicket = this.options.socket === "ticket" || (this.options.socket === undefined && this.api.hasToken);
    return byTicket ? `${url}?ticket=${encodeURIComponent(await this.api.ticket())}` : url;
  }

  private async stillSignedIn(): Promise<boolean> {
    try {
      await this.api.me();
      return true;
    } catch (problem) {
      return !(problem instanceof Refused && problem.code === "not_authenticated");
    }
  }

  private ready(): void {
    this.watched.clear();
    for (const [sessionId, opened] of this.opened) {
      if (opened.status === "ready") void this.follow(opened);
      else if (opened.status === "failed") void this.open(sessionId);
    }
    for (const runId of this.stopping) void this.sendStop(runId);
    this.outbox.resume();
    this.watchSoon();
    void this.sessions.refresh();
    void this.inbox.refresh();
  }

  private unready(): void {
    this.outbox.pause();
    this.watched.clear();
    for (const opened of this.opened.values()) opened.subscribed = false;
  }

  private take(frame: Frame): void {
    const sessionId = frame.session_id;
    if (!sessionId) return;
    if (frame.type === "typing") return this.typing.feed(frame);
    if (frame.type === "error") return this.dropped(sessionId, frame);
    this.inbox.feed(frame);
    this.sessions.feed(frame);
    const opened = this.opened.get(sessionId);
    if (opened && opened.status === "ready") this.fold(opened, frame);
    else if (frame.type === "session.deleted") this.lose(sessionId);
  }

  private fold(opened: Opened, frame: Frame): void {
    const { talk } = opened;
    const change = talk.feed(frame);
    if (change === "none") return;
    if (change === "gap") return void this.follow(opened);
    if (frame.type.startsWith("message.") && frame.seq !== null) {
      const key = (frame.data as { key?: string | null }).key;
      if (key) this.outbox.confirmed(key);
      if (frame.type === "message.created") this.typing.spoke(talk.sessionId, frame);
    }
    if (change === "draft") {
      this.topics.tell(`draft:${(frame.data as { message_id: Id }).message_id}`);
      return;
    }
    if (change === "deleted") return this.lose(talk.sessionId);
    if (frame.run_id && frame.type.startsWith("run.")) this.settle(talk, frame.run_id);
    this.changed(talk.sessionId);
  }

  private settle(talk: Talk, runId: Id): void {
    const run = talk.runs.get(runId);
    if (run && ["succeeded", "failed", "cancelled"].includes(run.status)) this.stopping.delete(runId);
  }

  private async follow(opened: Opened): Promise<void> {
    const { sessionId } = opened.talk;
    for (let failures = 0; this.opened.get(sessionId) === opened; ) {
      try {
        // The events behind it arrive before this promise is looked at: they fold by their seq, in any case.
        await this.connection.ask("session.subscribe", { session_id: sessionId, after: opened.talk.lastSeq });
        opened.subscribed = true;
        return;
      } catch (problem) {
        if (problem instanceof Offline) return; // the next socket begins again
        if (!(problem instanceof Refused)) throw problem;
        if (problem.code === "not_found") return this.lose(sessionId);
        if (problem.temporary) await pause(delayS(++failures, problem.retryAfterS, this.options.random));
        else if (failures++ === 0) return void (await this.load(opened, sessionId)); // the log no longer reaches back
        else return;
      }
    }
  }

  private async load(opened: Opened, sessionId: Id): Promise<void> {
    try {
      const snapshot = await this.api.session(sessionId);
      if (this.opened.get(sessionId) !== opened) return;
      this.show(opened, snapshot);
      if (this.connection.isReady) void this.follow(opened);
      void this.loadRuns(sessionId);
    } catch (problem) {
      opened.status = problem instanceof Refused && problem.code === "not_found" ? "missing" : "failed";
    }
    this.changed(sessionId);
  }

  private show(opened: Opened, snapshot: Snapshot): void {
    opened.talk = Talk.of(snapshot);
    opened.older = snapshot.messages.length < 50 ? null : undefined;
    opened.status = "ready";
    for (const row of snapshot.messages) if (row.key) this.outbox.confirmed(row.key);
    const { messages: _m, runs: _r, interrupts: _i, ...session } = snapshot;
    this.sessions.put(session);
  }

  /** The runs behind the answers that are shown: their tokens, cost and time. */
  private async loadRuns(sessionId: Id, from?: string | null): Promise<void> {
    if (from === null) return;
    try {
      const page = await (from === undefined ? this.api.runs(sessionId, 100) : this.api.follow<Run>(from));
      const opened = this.opened.get(sessionId);
      if (!opened) return;
      opened.olderRuns = page.next;
      opened.talk.addRuns(page.results);
      this.changed(sessionId);
    } catch {
      // Without them an answer is shown all the same.
    }
  }

  /** The list follows its newest sessions, so that a title or a status that changes elsewhere changes here. */
  private watchSoon(): void {
    clearTimeout(this.watchTimer);
    this.watchTimer = setTimeout(() => this.watch(), 300);
  }

  private watch(): void {
    if (!this.connection.isReady) return;
    const wanted = new Map(this.sessions.state.rows.slice(0, WATCHED).map((row) => [row.session_id, row]));
    for (const sessionId of [...this.watched]) {
      if (wanted.has(sessionId)) continue;
      this.watched.delete(sessionId);
      if (!this.opened.has(sessionId)) this.connection.tell("session.unsubscribe", { session_id: sessionId });
    }
    for (const [sessionId, row] of wanted) {
      if (this.watched.has(sessionId)) continue;
      this.watched.add(sessionId);
      if (this.opened.has(sessionId)) continue;
      this.connection.ask("session.subscribe", { session_id: sessionId, after: row.last_seq }).catch((problem) => {
        this.watched.delete(sessionId);
        if (problem instanceof Refused && problem.code === "not_found") this.sessions.remove(sessionId);
      });
    }
  }

  /** An error that no command caused, about one session: it was taken from us, or it has to be subscribed again. */
  private dropped(sessionId: Id, frame: Frame): void {
    this.watched.delete(sessionId);
    const { code } = frame.data as { code: string };
    if (code === "not_found" || code === "not_allowed") {
      this.sessions.remove(sessionId);
      this.lose(sessionId);
      return;
    }
    const opened = this.opened.get(sessionId);
    if (opened) void this.load(opened, sessionId);
  }

  private lose(sessionId: Id): void {
    const opened = this.opened.get(sessionId);
    if (opened) opened.status = "missing";
    this.changed(sessionId);
  }

  private async post(item: Unsent): Promise<Posted> {
    const { key, session_id, content, options } = item;
    const posted = await this.connection.ask<Posted>("message.send", { session_id, content, key, ...options });
    const shown = this.opened.get(session_id)?.talk.messages.has(posted.message_id);
    if (shown || !this.opened.has(session_id)) setTimeout(() => this.outbox.confirmed(key));
    return posted;
  }

  private async sendStop(runId: Id): Promise<void> {
    try {
      await this.connection.ask("run.cancel", { run_id: runId });
      this.stopping.delete(runId);
    } catch (problem) {
      if (problem instanceof Refused) this.stopping.delete(runId);
    }
    for (const [sessionId, opened] of this.opened) if (opened.talk.runs.has(runId)) this.changed(sessionId);
  }

  private changed(sessionId: Id): void {
    this.topics.tell(`talk:${sessionId}`);
  }
}

function newOpened(sessionId: Id): Opened {
  return {
    talk: new Talk(sessionId),
    status: "loading",
    older: undefined,
    loadingOlder: false,
    olderRuns: null,
    subscribed: false,
  };
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
