/** What this browser remembers: drafts, unsent messages, widths. All of a user's goes when they sign out. */

const PREFIX = "chat.";

export function read(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage may be forbidden: then nothing is remembered
  }
}

export function write(name: string, value: string | null): void {
  try {
    if (value === null || value === "") localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // As above, or full.
  }
}

export const outboxPrefix = (userId: string) => `${PREFIX}of.${userId}.unsent.`;
export const draftName = (userId: string, sessionId: string | null) => `of.${userId}.draft.${sessionId ?? "new"}`;
export const choiceName = (userId: string, what: string) => `of.${userId}.${what}`;

/** Forget what was typed here: the next person at this screen may be another one. */
export function forgetUser(userId: string): void {
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(`${PREFIX}of.${userId}.`));
    for (const name of names) localStorage.removeItem(name);
  } catch {
    // As above.
  }
}
