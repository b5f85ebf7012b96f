/**
 * One person at one server: the sessions that are open, what is unsent, the list, the inbox.
 *
 * Everything that can be shown is read from here, and `topics` tells when it changed:
 * `connection`, `outbox`, `sessions`, `inbox`, `talk:<session>`, `draft:<message>`, `typing:<session>`, `problem`.
 */

import { Api, type ApiOptions, type SessionChange } from "./api";
import { Connection, type SocketLike } from "./connection";
import { Refused } from "./errors";
import type { Draft } from "./fold";
import { Inbox } from "./inbox";
import { type Keeper, Outbox, type Posted, type Unsent } from "./outbox";
import { SessionList, WATCHED } from "./sessions";
import { type Opened, Talks } from "./talks";
import { Topics } from "./topics";
import { TypingBoard } from "./typing";
import type { Answer, Frame, Id, SendOptions, Session } from "./wire";

export interface ChatOptions extends ApiOptions {
  /** Who is signed in, by id, where the page knows it; else the first socket tells. */
  userId?: Id;
  /** `cookie` where the page is the server's own, else `ticket`. */
  socket?: "cookie" | "ticket";
  openSocket?: (url: string) => SocketLike;
  keeper?: Keeper;
  random?: () => number;
  answerS?: number;
}

export class Chat {
  readonly topics = new Topics();
  readonly api: Api;
  readonly connection: Connection;
  readonly outbox: Outbox;
  readonly sessions: SessionList;
  readonly inbox: Inbox;
  readonly typing: TypingBoard;
  readonly talks: Talks;
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
      ...(options.userId && { userId: options.userId }),
      ...(options.openSocket && { openSocket: options.openSocket }),
      ...(options.random && { random: options.random }),
      ...(options.answerS && { answerS: options.answerS }),
    });
    this.connection.subscribe(() => {
      if (!this.connection.isReady) this.unready();
      this.api.closed = this.connection.over || this.connection.state.status === "signed_out";
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
    this.talks = new Talks({
      api: this.api,
      connection: this.connection,
      onChange: (sessionId) => this.changed(sessionId),
      onRead: (session, keys) => {
        for (const key of keys) this.outbox.confirmed(key);
        if (this.sessions.row(session.session_id)) this.sessions.put(session); // reading it moves it nowhere
      },
      random: options.random,
    });
    this.typing = new TypingBoard((sessionId) => this.topics.tell(`typing:${sessionId}`));
  }

  /** The sessions that are open, by id. */
  get opened(): ReadonlyMap<Id, Opened> {
    return this.talks.opened;
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
  open(sessionId: Id): Promise<Opened> {
    return this.talks.open(sessionId);
  }

  loadOlder(sessionId: Id): Promise<void> {
    return this.talks.loadOlder(sessionId);
  }

  /** Follow a session no more. */
  leave(sessionId: Id): void {
    if (!this.talks.opened.delete(sessionId)) return;
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
    this.lost(sessionId);
  }

  // --- talking --------------------------------------------------------------------------------------------------

  say(sessionId: Id, content: string, options: SendOptions = {}): Unsent {
    return this.outbox.add(sessionId, content, options);
  }

  /** Stop an answer; without a connection, as soon as there is one. */
  cancel(runId: Id): void {
    this.stopping.add(runId);
    this.changedRun(runId);
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

  /** Over the socket where there is one and it takes so much, else over HTTP: a question must not wait for a socket. */
  async resolve(interruptId: Id, answer: Answer): Promise<void> {
    const overHttp = () => this.api.resolve(interruptId, answer);
    const overSocket = () =>
      this.connection.ask("interrupt.resolve", { interrupt_id: interruptId, answer }).catch((problem: unknown) => {
        if (!(problem instanceof Refused) || problem.code !== "too_large") throw problem;
        return overHttp();
      });
    await (this.connection.isReady ? overSocket() : overHttp());
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
    this.talks.resume();
    for (const runId of this.stopping) void this.sendStop(runId);
    this.outbox.resume();
    this.watchSoon();
    void this.sessions.refresh();
    void this.inbox.refresh();
  }

  private unready(): void {
    this.outbox.pause();
    this.watched.clear();
  }

  private take(frame: Frame): void {
    const sessionId = frame.session_id;
    if (!sessionId) return;
    if (frame.type === "typing") return this.typing.feed(frame);
    if (frame.type === "error") return this.dropped(sessionId, frame);
    if (frame.type.startsWith("session.member_")) this.heed(sessionId, frame);
    this.inbox.feed(frame);
    this.sessions.feed(frame);
    const change = this.talks.feed(frame);
    if (change === "draft") return this.topics.tell(`draft:${(frame.data as { message_id: Id }).message_id}`);
    if (frame.seq === null || change === "gap") return;
    if (frame.type === "session.deleted") this.talks.lose(sessionId);
    if (frame.type === "message.created") this.typing.spoke(sessionId, frame);
    const { key } = frame.data as { key?: string | null };
    if (key && frame.type.startsWith("message.")) this.outbox.confirmed(key);
    if (frame.run_id && frame.type.startsWith("run.")) this.settle(frame.run_id, frame);
  }

  /** One was taken out oneself: nothing follows. Let in again is told only by a log that was read late, behind it. */
  private heed(sessionId: Id, frame: Frame): void {
    const { member } = frame.data as { member?: { user_id: Id } };
    if (!member || member.user_id !== this.connection.user?.user_id) return;
    if (frame.type === "session.member_removed") this.lost(sessionId);
    else if (this.opened.get(sessionId)?.status === "missing") void this.talks.reload(sessionId);
  }

  private lost(sessionId: Id): void {
    this.watched.delete(sessionId);
    this.sessions.remove(sessionId);
    this.talks.lose(sessionId);
  }

  private settle(runId: Id, frame: Frame): void {
    const { status } = frame.data as { status?: string };
    if (status && ["succeeded", "failed", "cancelled"].includes(status)) this.stopping.delete(runId);
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
      if (this.opened.get(sessionId)?.status === "missing") void this.talks.reload(sessionId); // one was let in again
      if (this.opened.has(sessionId)) continue;
      this.connection.ask("session.subscribe", { session_id: sessionId, after: row.last_seq }).catch((problem) => {
        this.watched.delete(sessionId);
        if (problem instanceof Refused && problem.code === "not_found") this.sessions.remove(sessionId);
      });
    }
  }

  /** An error that no command caused, about one session: it was taken from us, or it has to be subscribed again. */
  private dropped(sessionId: Id, frame: Frame): void {
    const { code } = frame.data as { code: string };
    if (code === "not_found" || code === "not_allowed") return this.lost(sessionId);
    this.watched.delete(sessionId);
    void this.talks.reload(sessionId);
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
    this.changedRun(runId);
  }

  private changedRun(runId: Id): void {
    for (const [sessionId, opened] of this.opened) if (opened.talk.runs.has(runId)) this.changed(sessionId);
  }

  private changed(sessionId: Id): void {
    this.topics.tell(`talk:${sessionId}`);
  }
}
