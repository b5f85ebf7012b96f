/**
 * The fold: from the frames of one session to what is shown of it. No socket, no clock, no framework.
 *
 * Rows are replaced and never changed, so whoever holds one may compare it by identity. `tests/recordings/` holds this
 * and the Python fold of the tests to the same frames and the same state.
 */

import { codePoints } from "./text";
import type { Author, Delta, Frame, Id, Interrupt, Message, Run, Session, Snapshot } from "./wire";
import { OPEN_RUN } from "./wire";

/** A message on its way. A new object with every delta. */
export interface Draft {
  readonly message_id: Id;
  readonly run_id: Id;
  readonly attempt: number;
  readonly text: string;
  readonly points: number; // code points of `text`
  readonly reasoning: string;
  readonly reasoningPoints: number;
  readonly author: Author | null;
  readonly kind: string;
}

/** What a lost attempt had shown: kept in sight, as void, until the next attempt has something to show. */
export interface Broken {
  readonly run_id: Id;
  readonly reason: string;
  readonly text: string;
  readonly author: Author | null;
}

/** What a frame changed. `gap`: something is missing, subscribe again after `lastSeq`. */
export type Change = "none" | "rows" | "draft" | "gap" | "deleted";

const SHOWN_MESSAGES = 50;

export class Talk {
  readonly sessionId: Id;
  session: Session | null = null;
  lastSeq: number;
  messages = new Map<Id, Message>();
  runs = new Map<Id, Run>();
  interrupts = new Map<Id, Interrupt>();
  drafts = new Map<Id, Draft>();
  broken = new Map<Id, Broken>();
  /** Open runs that lost an attempt, and why: their answer is being written again. */
  restarted = new Map<Id, string>();
  discarded = new Set<Id>();
  /** Runs that a message has named and no event has told yet: it comes right behind. */
  announced = new Set<Id>();
  /** Grows with every change of a row, a draft's begin or end; not with the text of a draft. */
  version = 0;
  private reached = false; // whether the list was read down to the messages that are known

  constructor(sessionId: Id, after = 0) {
    this.sessionId = sessionId;
    this.lastSeq = after;
  }

  static of(snapshot: Snapshot): Talk {
    const { messages, runs, interrupts, ...session } = snapshot;
    const talk = new Talk(session.session_id, session.last_seq);
    talk.session = session;
    for (const row of messages) talk.messages.set(row.message_id, row);
    for (const row of runs) talk.runs.set(row.run_id, row);
    for (const row of interrupts) talk.interrupts.set(row.interrupt_id, row);
    return talk;
  }

  /** What `GET /api/sessions/{id}/` shows at this seq. */
  state(): Snapshot {
    return {
      ...(this.session as Session),
      messages: [...this.messages.values()].slice(-SHOWN_MESSAGES),
      runs: this.openRuns(),
      interrupts: this.openInterrupts(),
    };
  }

  openRuns(): Run[] {
    return [...this.runs.values()].filter((run) => OPEN_RUN.has(run.status)).sort((a, b) => a.position - b.position);
  }

  openInterrupts(): Interrupt[] {
    return [...this.interrupts.values()].filter((row) => row.status === "open");
  }

  /**
   * The server's list of messages, page after page, newest first: what lies behind the known ones comes before them.
   * What lies in front of them is news, and the log tells it. Says whether there was anything older.
   */
  addOlder(rows: readonly Message[]): boolean {
    const lastKnown = rows.findLastIndex((row) => this.messages.has(row.message_id));
    this.reached ||= lastKnown >= 0 || !this.messages.size;
    const behind = this.reached ? rows.slice(lastKnown + 1) : [];
    const older = behind.filter((row) => !this.discarded.has(row.message_id)).reverse();
    if (!older.length) return false;
    this.messages = new Map([...older.map((row) => [row.message_id, row] as const), ...this.messages]);
    this.version++;
    return true;
  }

  /** Runs that are over, from the server's list: what the log told later stays. */
  addRuns(rows: readonly Run[]): void {
    for (const row of rows) if (!this.runs.has(row.run_id)) this.runs.set(row.run_id, row);
    this.version++;
  }

  /** A new socket sends every draft from its start again. What is shown stays until then. */
  feed(frame: Frame): Change {
    if (frame.session_id !== this.sessionId) return "none";
    if (frame.seq === null || frame.seq === undefined) return this.live(frame);
    if (frame.seq <= this.lastSeq) return "none";
    if (frame.seq !== this.lastSeq + 1) return "gap";
    this.lastSeq = frame.seq;
    const change = this.event(frame);
    if (this.session && frame.at) this.session = { ...this.session, last_seq: frame.seq, updated_at: frame.at };
    this.version++;
    return change;
  }

  private live(frame: Frame): Change {
    if (frame.type === "message.delta") return this.delta(frame, "text");
    if (frame.type === "reasoning.delta") return this.delta(frame, "reasoning");
    return "none";
  }

  private event(frame: Frame): Change {
    const [noun, fact] = frame.type.split(".", 2);
    const data = frame.data as unknown;
    if (noun === "session" && isRow(data, "status")) this.session = sessionRow(data as unknown as Session);
    else if (noun === "message" && isRow(data, "content")) this.message(fact ?? "", data as unknown as Message);
    else if (noun === "run" && isRow(data, "status")) this.run(fact ?? "", data as unknown as Run & RunNews);
    else if (noun === "interrupt" && isRow(data, "status")) {
      const row = data as unknown as Interrupt;
      this.interrupts.set(row.interrupt_id, row);
    }
    return frame.type === "session.deleted" ? "deleted" : "rows";
  }

  private message(fact: string, row: Message): void {
    if (this.discarded.has(row.message_id)) return;
    const draft = this.drafts.get(row.message_id);
    // Thoughts are shown and not stored: they stay with the message for as long as this page is open.
    const thoughts = draft?.reasoning || this.messages.get(row.message_id)?.data.reasoning;
    this.drafts.delete(row.message_id);
    this.messages.set(row.message_id, row);
    if (thoughts) this.thoughts.set(row.message_id, thoughts);
    if (row.run_id && row.role !== "user") this.broken.delete(row.run_id);
    if (fact === "created" && row.role === "user" && row.run_id && !this.runs.has(row.run_id)) this.announced.add(row.run_id);
  }

  /** What an answer's model thought, by message. Not part of the state: a page that is loaded again has none. */
  readonly thoughts = new Map<Id, string>();

  private run(fact: string, row: Run & RunNews): void {
    const { discarded, reason, ...run } = row;
    if (fact === "restarted") {
      this.restarted.set(run.run_id, reason ?? "");
      this.keepBroken(run, reason ?? "", discarded ?? []);
    }
    for (const messageId of discarded ?? []) {
      this.discarded.add(messageId);
      this.messages.delete(messageId);
    }
    if (run.status !== "running") {
      for (const draft of this.drafts.values()) if (draft.run_id === run.run_id) this.drafts.delete(draft.message_id);
    }
    if (!OPEN_RUN.has(run.status)) {
      this.broken.delete(run.run_id);
      this.restarted.delete(run.run_id);
    }
    this.runs.set(run.run_id, run as Run);
    this.announced.delete(run.run_id);
  }

  private keepBroken(run: Run, reason: string, discarded: readonly Id[]): void {
    const drafts = [...this.drafts.values()].filter((draft) => draft.run_id === run.run_id && draft.text);
    const texts = drafts.map((draft) => draft.text);
    for (const messageId of discarded) {
      const message = this.messages.get(messageId);
      if (message?.role === "assistant") texts.unshift(message.content);
    }
    const author = drafts[0]?.author ?? null;
    const before = this.broken.get(run.run_id); // two losses in a row: the longer text is the better keepsake
    const text = texts.join("\n\n") || before?.text || "";
    this.broken.set(run.run_id, { run_id: run.run_id, reason, text, author: author ?? before?.author ?? null });
  }

  private delta(frame: Frame, part: "text" | "reasoning"): Change {
    const delta = frame.data as unknown as Delta;
    if (this.messages.has(delta.message_id) || this.discarded.has(delta.message_id) || !frame.run_id) return "none";
    const known = this.drafts.get(delta.message_id);
    const draft: Draft = known ?? {
      message_id: delta.message_id,
      run_id: frame.run_id,
      attempt: delta.attempt,
      text: "",
      points: 0,
      reasoning: "",
      reasoningPoints: 0,
      author: delta.author ?? null,
      kind: delta.kind ?? "text",
    };
    const shown = part === "text" ? draft.points : draft.reasoningPoints;
    if (delta.offset !== 0 && delta.offset !== shown) return "gap";
    const fresh = delta.offset === 0;
    const points = (fresh ? 0 : shown) + codePoints(delta.text);
    this.drafts.set(delta.message_id, {
      ...draft,
      author: delta.author ?? draft.author,
      kind: delta.kind ?? draft.kind,
      attempt: delta.attempt,
      ...(part === "text"
        ? { text: fresh ? delta.text : draft.text + delta.text, points }
        : { reasoning: fresh ? delta.text : draft.reasoning + delta.text, reasoningPoints: points }),
    });
    const replaces = part === "text" && this.broken.delete(frame.run_id);
    if (known && !replaces) return "draft";
    this.version++;
    return "rows";
  }
}

interface RunNews {
  discarded?: Id[];
  reason?: string;
}

function isRow(data: unknown, key: string): boolean {
  return typeof data === "object" && data !== null && key in data;
}

/** Some events of a session tell more than its row. */
function sessionRow(data: Session & { member?: unknown; reason?: unknown }): Session {
  const { member: _member, reason: _reason, ...row } = data;
  return row;
}
