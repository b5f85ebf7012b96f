/** Which session the address names: `/` none, `/c/<session>/` that one. */

import { useCallback, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
const PATH = /^\/c\/([0-9a-f-]{36})\/?$/i;

export function sessionOf(path: string): string | null {
  return PATH.exec(path)?.[1]?.toLowerCase() ?? null;
}

export function pathOf(sessionId: string | null): string {
  return sessionId ? `/c/${sessionId}/` : "/";
}

export function go(sessionId: string | null, replace = false): void {
  if (location.pathname === pathOf(sessionId)) return;
  history[replace ? "replaceState" : "pushState"](null, "", pathOf(sessionId));
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

export function useSessionId(): string | null {
  return useSyncExternalStore(
    subscribe,
    useCallback(() => sessionOf(location.pathname), []),
  );
}
