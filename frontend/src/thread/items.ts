/**
 * What a thread shows, in which order. Pure: from rows to a list.
 *
 * The log's order is not the reader's: a question that waited stands in the log before the answer to the one ahead of
 * it. Here a question stands right before its own answer.
 */

import type { Broken, Draft, Interrupt, Message, Run, Talk, Unsent } from "../client";
import { OPEN_RUN } from "../client";
import { dayKey } from "../ui/format";

export type Item =
  | { kind: "day"; key: string; at: string }
  | { kind: "asked"; key: string; message: Message }
  | { kind: "answer"; key: string; messageId: string; runId: string | null; message?: Message; first: boolean; restarted?: string }
  | { kind: "tool"; key: string; message: Message; first: boolean }
  | { kind: "notice"; key: string; message: Message }
  | { kind: "pending"; key: string; run: Run; broken?: Broken; first: boolean }
  | { kind: "question"; key: string; interrupt: Interrupt }
  | { kind: "footer"; key: string; run?: Run; runId: string | null; messageIds: readonly string[] }
  | { kind: "unsent"; key: string; unsent: Unsent };

/** The runs that wait behind another one, in their order. The first of an idle session is about to start: no queue. */
export function waitingRuns(talk: Talk): Run[] {
  const open = talk.openRuns();
  const ahead = open.some((run) => run.status !== "queued");
  const queued = open.filter((run) => run.status === "queued");
  return ahead ? queued : queued.slice(1);
}

export function questionOf(talk: Talk, run: Run): Message | undefined {
  return talk.messages.get(run.question_id);
}

export function itemsOf(talk: Talk, unsent: readonly Unsent[]): Item[] {
  const waiting = new Set(waitingRuns(talk).map((run) => run.run_id));
  const list = new Builder(talk);
  const messages = [...talk.messages.values()].filter((row) => !row.deleted_at);
  const asked = new Map<string, Message>();
  const ends = new Map<string, number>(); // where the last row of each run's answer stands
  messages.forEach((row, index) => {
    if (!row.run_id) return;
    if (row.role === "user") asked.set(row.run_id, row);
    else ends.set(row.run_id, index);
  });
  for (const run of talk.openRuns()) if (!waiting.has(run.run_id)) ends.set(run.run_id, Infinity);
  const placed = new Set<string>(); // runs whose question stands
  const held = new Map<string, Message[]>(); // what nobody answered, said while another answer was under way
  let under: string | null = null; // the run whose answer is under way at this row
  const place = (runId: string) => {
    const question = asked.get(runId);
    if (question && !placed.has(runId)) list.asked(question);
    placed.add(runId);
  };
  const release = (runId: string) => {
    for (const row of held.get(runId) ?? []) list.unanswered(row);
    held.delete(runId);
  };
  messages.forEach((row, index) => {
    const busy = under !== null && (ends.get(under) ?? -1) > index;
    if (row.data.joined) {
      place(row.data.joined.run_id);
      list.asked(row);
    } else if (row.role !== "user") {
      if (row.run_id) place(row.run_id);
      list.said(row);
      if (row.run_id && ends.get(row.run_id) === index) release(row.run_id);
    } else if (row.run_id && (waiting.has(row.run_id) || (talk.announced.has(row.run_id) && talk.openRuns().length))) {
      return; // in the queue, or about to be
    } else if (row.run_id && ends.has(row.run_id)) {
      if (!busy) under = row.run_id;
    } else if (busy && row.run_id) {
      held.set(under!, [...(held.get(under!) ?? []), row]);
    } else {
      list.unanswered(row);
    }
  });
  for (const run of talk.openRuns()) {
    if (waiting.has(run.run_id)) continue;
    place(run.run_id);
    list.open(run);
    release(run.run_id);
  }
  for (const runId of [...held.keys()]) release(runId);
  list.end();
  for (const one of unsent) list.items.push({ kind: "unsent", key: one.key, unsent: one });
  return list.items;
}

class Builder {
  readonly items: Item[] = [];
  private readonly talk: Talk;
  private readonly used = new Map<string, number>();
  private day = "";
  private group: { runId: string | null; author: string; messageIds: string[] } | null = null;

  constructor(talk: Talk) {
    this.talk = talk;
  }

  asked(message: Message): void {
    this.end();
    this.dayOf(message.created_at);
    // A person's own key outlives the change from unsent to said: the row stays the same one.
    this.items.push({ kind: "asked", key: message.key ?? message.message_id, message });
  }

  /** What was said and got no answer: taken back, or stopped before the first word. */
  unanswered(message: Message): void {
    this.asked(message);
    const run = message.run_id ? this.talk.runs.get(message.run_id) : undefined;
    const others = [...this.talk.runs.values()].some((one) => one !== run && one.question_id === message.message_id);
    if (run && !others) this.items.push({ kind: "footer", key: this.once(`footer:${run.run_id}`), runId: run.run_id, run, messageIds: [] });
  }

  said(message: Message): void {
    if (message.role === "system" || (message.role === "assistant" && message.kind !== "text")) {
      if (message.run_id !== this.group?.runId) this.end();
      this.dayOf(message.created_at);
      this.items.push({ kind: "notice", key: message.message_id, message });
      if (message.run_id && !this.group) this.join(message.run_id, "");
      return;
    }
    if (message.run_id !== this.group?.runId || !message.run_id) this.end();
    this.dayOf(message.created_at);
    const first = this.join(message.run_id, message.author.name);
    const key = message.message_id;
    if (message.role === "tool") this.items.push({ kind: "tool", key, message, first });
    else {
      this.group?.messageIds.push(key);
      this.items.push({ kind: "answer", key, messageId: key, runId: message.run_id, message, first });
    }
  }

  /** What is under way: its drafts, or that it is about to say something, or what it asks. */
  open(run: Run): void {
    if (this.group?.runId !== run.run_id) this.end();
    const drafts = [...this.talk.drafts.values()].filter((draft: Draft) => draft.run_id === run.run_id);
    const broken = this.talk.broken.get(run.run_id);
    for (const draft of drafts) {
      const first = this.join(run.run_id, draft.author?.name ?? run.agent);
      const restarted = this.talk.restarted.get(run.run_id);
      const { message_id: key } = draft;
      this.items.push({ kind: "answer", key, messageId: key, runId: run.run_id, first, ...(restarted !== undefined && { restarted }) });
    }
    const questions = this.talk.openInterrupts().filter((row) => row.run_id === run.run_id);
    for (const interrupt of questions) {
      this.join(run.run_id, run.agent);
      this.items.push({ kind: "question", key: interrupt.interrupt_id, interrupt });
    }
    if (!drafts.length && !questions.length) {
      const first = this.join(run.run_id, run.agent);
      this.items.push({ kind: "pending", key: `pending:${run.run_id}`, run, first, ...(broken && { broken }) });
    }
  }

  /** A group is over: what it cost, and what can be done with it. */
  end(): void {
    const { group } = this;
    this.group = null;
    if (!group) return;
    const run = group.runId ? this.talk.runs.get(group.runId) : undefined;
    if (run && OPEN_RUN.has(run.status)) return;
    const key = this.once(`footer:${group.runId ?? group.messageIds[0] ?? ""}`);
    this.items.push({ kind: "footer", key, runId: group.runId, messageIds: group.messageIds, ...(run && { run }) });
  }

  /** Whether a face is to be shown: with the first of a group, and where another agent takes the word. */
  private join(runId: string | null, author: string): boolean {
    if (!this.group) {
      this.group = { runId, author, messageIds: [] };
      return true;
    }
    if (this.group.author === author) return false;
    this.group.author = author;
    return true;
  }

  private dayOf(at: string): void {
    const key = dayKey(at);
    if (key === this.day) return;
    this.day = key;
    this.items.push({ kind: "day", key: this.once(`day:${key}`), at });
  }

  /** A list's keys are unique, even where an answer goes on after another one's, or a day comes twice. */
  private once(key: string): string {
    const count = (this.used.get(key) ?? 0) + 1;
    this.used.set(key, count);
    return count === 1 ? key : `${key}:${count}`;
  }
}
