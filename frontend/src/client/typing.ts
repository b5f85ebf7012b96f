/** Who is typing, by session. A note that is not repeated is forgotten: its writer may be gone. */

import type { Frame, Id, User } from "./wire";

const GOOD_FOR_MS = 6000;

export class TypingBoard {
  private readonly sessions = new Map<Id, Map<Id, { user: User; timer: ReturnType<typeof setTimeout> }>>();
  private readonly lists = new Map<Id, readonly User[]>();
  private readonly onChange: (sessionId: Id) => void;

  constructor(onChange: (sessionId: Id) => void) {
    this.onChange = onChange;
  }

  /** The same array until it changes. */
  in(sessionId: Id): readonly User[] {
    return this.lists.get(sessionId) ?? NOBODY;
  }

  feed(frame: Frame): void {
    const { user, active } = frame.data as { user?: User; active?: boolean };
    if (!frame.session_id || !user) return;
    this.clear(frame.session_id, user.user_id);
    if (active) {
      const sessionId = frame.session_id;
      const people = this.sessions.get(sessionId) ?? new Map();
      const timer = setTimeout(() => this.clear(sessionId, user.user_id), GOOD_FOR_MS);
      people.set(user.user_id, { user, timer });
      this.sessions.set(sessionId, people);
      this.changed(sessionId);
    }
  }

  /** Whoever said something has typed it. */
  spoke(sessionId: Id, frame: Frame): void {
    const { role, author } = frame.data as { role?: string; author?: { name: string } };
    if (role !== "user") return;
    for (const [userId, { user }] of this.sessions.get(sessionId) ?? []) {
      if (user.username === author?.name || user.name === author?.name) this.clear(sessionId, userId);
    }
  }

  forget(sessionId: Id): void {
    for (const userId of [...(this.sessions.get(sessionId)?.keys() ?? [])]) this.clear(sessionId, userId);
  }

  stop(): void {
    for (const sessionId of [...this.sessions.keys()]) this.forget(sessionId);
  }

  private clear(sessionId: Id, userId: Id): void {
    const one = this.sessions.get(sessionId)?.get(userId);
    if (!one) return;
    clearTimeout(one.timer);
    this.sessions.get(sessionId)?.delete(userId);
    this.changed(sessionId);
  }

  private changed(sessionId: Id): void {
    this.lists.set(sessionId, [...(this.sessions.get(sessionId)?.values() ?? [])].map((one) => one.user));
    this.onChange(sessionId);
  }
}

const NOBODY: readonly User[] = [];
