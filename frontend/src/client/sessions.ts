/** The list of one's sessions: pages of it, and what changes while one looks at it. */

import type { Api, SessionQuery } from "./api";
import type { Frame, Id, Session } from "./wire";

export const WATCHED = 25; // the newest, followed on the socket for their title and status

export interface ListState {
  readonly rows: readonly Session[];
  readonly query: SessionQuery;
  readonly hasMore: boolean;
  readonly loading: boolean;
  readonly failed: boolean;
  /** Whether the first page of this query is there. */
  readonly loaded: boolean;
}

const EMPTY: ListState = { rows: [], query: {}, hasMore: false, loading: false, failed: false, loaded: false };
const PAGE = 40;

export class SessionList {
  state: ListState = EMPTY;
  private next: string | null = null;
  private asked = 0; // tells the answer to the newest query from older ones
  private readonly api: Api;
  private readonly onChange: () => void;
  /** What came and went since which list was asked for: the answers to it and those before know nothing of that. */
  private readonly came = new Map<Id, number>();
  private readonly gone = new Map<Id, number>();
  private lists = 0;

  constructor(api: Api, onChange: () => void) {
    this.api = api;
    this.onChange = onChange;
  }

  row(id: Id): Session | undefined {
    return this.state.rows.find((row) => row.session_id === id);
  }

  async find(query: SessionQuery): Promise<void> {
    this.set({ query, loading: true, failed: false });
    const mine = ++this.asked;
    const list = ++this.lists;
    try {
      const page = await this.api.sessions({ ...query, limit: PAGE });
      if (mine !== this.asked) return;
      this.next = page.next;
      this.set({ rows: this.asOfNow(page.results, list), hasMore: page.next !== null, loading: false, loaded: true });
    } catch {
      if (mine === this.asked) this.set({ loading: false, failed: true });
    }
  }

  async more(): Promise<void> {
    if (!this.next || this.state.loading) return;
    const mine = this.asked;
    const list = ++this.lists;
    this.set({ loading: true, failed: false });
    try {
      const page = await this.api.follow<Session>(this.next);
      if (mine !== this.asked) return;
      this.next = page.next;
      const known = new Set(this.state.rows.map((row) => row.session_id));
      const rows = this.asOfNow(page.results, list).filter((row) => !known.has(row.session_id));
      this.set({ rows: [...this.state.rows, ...rows], hasMore: page.next !== null, loading: false });
    } catch {
      if (mine === this.asked) this.set({ loading: false, failed: true });
    }
  }

  /** Look again at the first page, and keep what was read behind it. */
  async refresh(): Promise<void> {
    if (!this.state.loaded) return this.find(this.state.query);
    const mine = this.asked;
    const list = ++this.lists;
    const page = await this.api.sessions({ ...this.state.query, limit: PAGE }).catch(() => null);
    if (!page || mine !== this.asked) return;
    const rows = this.asOfNow(page.results, list);
    const fresh = rows.map((row) => this.newer(row));
    if (this.state.rows.length <= PAGE || !page.next) {
      this.next = page.next;
      return this.set({ rows: fresh, hasMore: page.next !== null, failed: false });
    }
    this.set({ rows: [...fresh, ...this.behind(rows)], failed: false });
  }

  /** Rows that a list told, without what went since it was asked for, and with what came. */
  private asOfNow(told: readonly Session[], list: number): Session[] {
    const rows = told.filter((row) => (this.gone.get(row.session_id) ?? -1) < list);
    for (const row of rows) this.gone.delete(row.session_id); // one was let in again
    const there = new Set(rows.map((row) => row.session_id));
    const since = this.state.rows.filter(({ session_id: id }) => (this.came.get(id) ?? -1) >= list && !there.has(id));
    return [...since, ...rows];
  }

  /** The rows that come after a fresh first page: those that it pushed off, too, and not those that it would have. */
  private behind(page: readonly Session[]): Session[] {
    const { rows } = this.state;
    const first = new Set(page.map((row) => row.session_id));
    // Of a session that did not change the place is known: what stood before it and is not in the page is no more.
    const still = page.findLast((row) => this.row(row.session_id)?.last_seq === row.last_seq);
    const from = still ? rows.findIndex((row) => row.session_id === still.session_id) : 0;
    return rows.slice(from).filter((row) => !first.has(row.session_id));
  }

  /** A row as an event or an answer tells it. */
  put(row: Session, toTop = false): void {
    if (this.gone.has(row.session_id)) return;
    const at = this.state.rows.findIndex((one) => one.session_id === row.session_id);
    if (at < 0 && !this.suits(row)) return;
    if (at < 0) this.came.set(row.session_id, this.lists);
    const rows = this.state.rows.filter((one) => one.session_id !== row.session_id);
    rows.splice(at < 0 || toTop ? 0 : at, 0, at < 0 ? row : this.newer(row));
    this.set({ rows });
  }

  remove(id: Id): void {
    this.gone.set(id, this.lists);
    this.set({ rows: this.state.rows.filter((row) => row.session_id !== id) });
  }

  /** An event of a session that is in the list. */
  feed(frame: Frame): void {
    const id = frame.session_id;
    if (!id || frame.seq === null) return;
    if (frame.type === "session.deleted") return this.remove(id);
    const known = this.row(id);
    if (!known || frame.seq <= known.last_seq) return;
    const told = frame.type.startsWith("session.") && "status" in frame.data ? (frame.data as object) : {};
    const { member: _member, reason: _reason, ...row } = { ...known, ...told } as Session & Record<string, unknown>;
    const asks = frame.type === "message.created" && (frame.data as { role?: string }).role === "user";
    this.put({ ...(row as Session), last_seq: frame.seq, updated_at: frame.at ?? row.updated_at }, asks);
  }

  private newer(row: Session): Session {
    const known = this.row(row.session_id);
    return known && known.last_seq > row.last_seq ? known : row;
  }

  private suits(row: Session): boolean {
    const { status, agent, q } = this.state.query;
    if (status && row.status !== status) return false;
    if (agent && row.agent !== agent) return false;
    return !q || row.title.toLowerCase().includes(q.toLowerCase());
  }

  private set(change: Partial<ListState>): void {
    this.state = { ...this.state, ...change };
    this.onChange();
  }
}
