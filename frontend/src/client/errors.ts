/** What can go wrong: the server refused (and says why), or nobody knows because the connection went away. */

import type { ErrorData } from "./wire";

export class Refused extends Error {
  readonly code: string;
  readonly temporary: boolean;
  readonly retryAfterS: number | null;
  readonly fields: Record<string, string>;

  constructor(data: ErrorData) {
    super(data.message);
    this.name = "Refused";
    this.code = data.code;
    this.temporary = data.temporary;
    this.retryAfterS = data.retry_after_s ?? null;
    this.fields = data.fields ?? {};
  }

  /** From the body of an HTTP answer, whatever a proxy in between made of it. */
  static fromBody(status: number, body: unknown): Refused {
    const data = (body as { error?: ErrorData } | null)?.error;
    if (data && typeof data.code === "string") return new Refused(data);
    const code = status === 401 ? "not_authenticated" : status >= 500 ? "unavailable" : "internal";
    return new Refused({ code, message: `HTTP ${status}`, temporary: status >= 500 || status === 429 });
  }
}

/** The command or request may or may not have been done. */
export class Offline extends Error {
  constructor(message = "There is no connection.") {
    super(message);
    this.name = "Offline";
  }
}
