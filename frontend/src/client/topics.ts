/** Who wants to hear of what: listeners by topic, told at once. */

export class Topics {
  private readonly listeners = new Map<string, Set<() => void>>();
  private readonly revisions = new Map<string, number>();

  /** A number that is another one after each change. */
  revision(topic: string): number {
    return this.revisions.get(topic) ?? 0;
  }

  on(topic: string, listener: () => void): () => void {
    let group = this.listeners.get(topic);
    if (!group) this.listeners.set(topic, (group = new Set()));
    group.add(listener);
    return () => {
      group.delete(listener);
      if (!group.size && this.listeners.get(topic) === group) this.listeners.delete(topic);
    };
  }

  tell(topic: string): void {
    // What nobody listens to needs no number: the text of a draft changes many times a second.
    if (!this.listeners.has(topic) && topic.startsWith("draft:")) return;
    this.revisions.set(topic, this.revision(topic) + 1);
    for (const listener of [...(this.listeners.get(topic) ?? [])]) listener();
  }
}
