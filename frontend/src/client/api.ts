/** The HTTP half of the wire. Signed in by the browser's cookie, or by a token that `token` gives. */

import { Offline, Refused } from "./errors";
import { parse, stringify } from "./exact";
import type { Agent, Answer, Id, Interrupt, JsonObject, Message, OnBusy, Page, Run, Session, Snapshot } from "./wire";

export interface ApiOptions {
  /** "" for the page's own server. */
  base?: string;
  /** An access token or API key. Without it, the cookie of the browser counts. */
  token?: () => string | Promise<string>;
  /** The CSRF token that goes with the cookie. */
  csrf?: () => string;
  fetch?: typeof fetch;
}

export interface SessionChange {
  title?: string;
  agent?: string;
  metadata?: JsonObject;
  status?: "completed";
  on_busy?: OnBusy;
}

export interface SessionQuery {
  status?: string;
  agent?: string;
  q?: string;
  updated_after?: string;
  limit?: number;
}

export interface MemberRow {
  user_id: Id;
  username: string;
  name: string;
  role: "owner" | "member" | "viewer";
}

const PATIENCE_MS = 20_000;

export class Api {
  private readonly options: ApiOptions;
  /** Nothing is asked while nobody is signed in, for all that is known: the cookie may be another person's by now. */
  closed = false;

  constructor(options: ApiOptions = {}) {
    this.options = options;
  }

  get base(): string {
    return this.options.base ?? "";
  }

  get hasToken(): boolean {
    return this.options.token !== undefined;
  }

  /** Rejects with Refused, or Offline. */
  async call<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    if (this.closed) throw new Refused({ code: "not_authenticated", message: "You are not signed in any more.", temporary: false });
    const headers: Record<string, string> = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.options.token) headers["Authorization"] = `Bearer ${await this.options.token()}`;
    else if (method !== "GET" && this.options.csrf) headers["X-CSRFToken"] = this.options.csrf();
    const request: RequestInit = { method, headers, signal: AbortSignal.timeout(PATIENCE_MS) };
    request.credentials = this.options.token ? "omit" : "same-origin";
    if (body !== undefined) request.body = stringify(body);
    let response: Response;
    let text: string;
    try {
      response = await (this.options.fetch ?? fetch)(this.base + path, request);
      text = await response.text();
    } catch {
      throw new Offline();
    }
    let data: unknown = null;
    try {
      data = text ? parse(text) : null;
    } catch {
      if (response.ok) throw new Refused({ code: "internal", message: "The answer is not JSON.", temporary: true });
    }
    if (!response.ok) throw Refused.fromBody(response.status, data);
    return data as Result;
  }

  get<Result>(path: string): Promise<Result> {
    return this.call<Result>("GET", path);
  }

  post<Result>(path: string, body: unknown = {}): Promise<Result> {
    return this.call<Result>("POST", path, body);
  }

  /** `next` of a page, which is an absolute address as the server sees itself; a proxy may call it otherwise. */
  follow<Row>(next: string): Promise<Page<Row>> {
    const { pathname, search } = new URL(next, "http://localhost");
    return this.get<Page<Row>>(pathname + search);
  }

  me(): Promise<{ user_id: Id; username: string; name: string; is_staff: boolean }> {
    return this.get("/api/me/");
  }

  async ticket(): Promise<string> {
    return (await this.post<{ ticket: string }>("/api/ws-tickets/")).ticket;
  }

  sessions(query: SessionQuery = {}): Promise<Page<Session>> {
    return this.get(`/api/sessions/${queryText(query)}`);
  }

  createSession(body: { title?: string; agent?: string; metadata?: JsonObject } = {}): Promise<Session> {
    return this.post("/api/sessions/", body);
  }

  session(id: Id): Promise<Snapshot> {
    return this.get(`/api/sessions/${id}/`);
  }

  updateSession(id: Id, change: SessionChange): Promise<Session> {
    return this.call("PATCH", `/api/sessions/${id}/`, change);
  }

  deleteSession(id: Id): Promise<null> {
    return this.call("DELETE", `/api/sessions/${id}/`);
  }

  closeSession(id: Id): Promise<Session> {
    return this.post(`/api/sessions/${id}/close/`);
  }

  reopenSession(id: Id): Promise<Session> {
    return this.post(`/api/sessions/${id}/reopen/`);
  }

  messages(id: Id, limit = 100): Promise<Page<Message>> {
    return this.get(`/api/sessions/${id}/messages/?limit=${limit}`);
  }

  runs(id: Id, limit = 100): Promise<Page<Run>> {
    return this.get(`/api/sessions/${id}/runs/?limit=${limit}`);
  }

  run(id: Id): Promise<Run> {
    return this.get(`/api/runs/${id}/`);
  }

  members(id: Id): Promise<Page<MemberRow>> {
    return this.get(`/api/sessions/${id}/members/`);
  }

  agents(): Promise<Page<Agent>> {
    return this.get("/api/agents/?limit=200");
  }

  interrupts(): Promise<Page<Interrupt>> {
    return this.get("/api/interrupts/?status=open&limit=200");
  }

  resolve(id: Id, answer: Answer): Promise<{ interrupt_id: Id; run_id: Id }> {
    return this.post(`/api/interrupts/${id}/resolve/`, { answer });
  }

  /** All rows of a list, page after page. `onPage` hears how many there are so far. */
  async all<Row>(first: Promise<Page<Row>>, onPage?: (count: number) => void): Promise<Row[]> {
    const rows: Row[] = [];
    for (let page = await first; ; page = await this.follow<Row>(page.next)) {
      rows.push(...page.results);
      onPage?.(rows.length);
      if (!page.next) return rows;
    }
  }
}

function queryText(query: object): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  if (!pairs.length) return "";
  return `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString()}`;
}
