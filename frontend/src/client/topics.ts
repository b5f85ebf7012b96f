/** Who wants to hear of what: listeners by topic, told at once. */

export class Topics {
  private readonly listeners = new Map<string, Set<() => void>>();

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
    for (const listener of [...(this.listeners.get(topic) ?? [])]) listener();
  }
}
