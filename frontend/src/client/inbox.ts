/** The questions that wait for a person, over all sessions. */

import type { Api } from "./api";
import type { Frame, Id, Interrupt } from "./wire";

export class Inbox {
  rows: readonly Interrupt[] = [];
  private readonly api: Api;
  private readonly onChange: () => void;
  private readonly done = new Set<Id>();

  constructor(api: Api, onChange: () => void) {
    this.api = api;
    this.onChange = onChange;
  }

  async refresh(): Promise<void> {
    const rows = await this.api.all(this.api.interrupts()).catch(() => null);
    if (rows) this.set(rows.filter((row) => !this.done.has(row.interrupt_id)));
  }

  feed(frame: Frame): void {
    if (!frame.type.startsWith("interrupt.") || !("interrupt_id" in frame.data)) return;
    const row = frame.data as unknown as Interrupt;
    if (row.status !== "open") return this.settled(row.interrupt_id);
    if (this.done.has(row.interrupt_id)) return; // an event that is told again after a reconnect
    this.set([...this.rows.filter((one) => one.interrupt_id !== row.interrupt_id), row]);
  }

  settled(id: Id): void {
    this.done.add(id);
    if (this.rows.some((row) => row.interrupt_id === id)) this.set(this.rows.filter((row) => row.interrupt_id !== id));
  }

  private set(rows: readonly Interrupt[]): void {
    this.rows = [...rows].sort((a, b) => a.created_at.localeCompare(b.created_at));
    this.onChange();
  }
}
