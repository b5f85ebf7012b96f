/** The client, as the page's parts see it. */

import { createContext, useCallback, useContext, useEffect, useState, useSyncExternalStore } from "react";
import { type Agent, Chat, type Draft, type Opened, storageKeeper } from "../client";
import { type Boot, cookie } from "./boot";
import { outboxPrefix } from "./store";

export interface World {
  boot: Boot;
  chat: Chat;
  userId: string;
}

export const WorldContext = createContext<World | null>(null);

export function useWorld(): World {
  const world = useContext(WorldContext);
  if (!world) throw new Error("There is no world around this.");
  return world;
}

export function newWorld(boot: Boot): World {
  const userId = boot.user?.user_id ?? "";
  const chat = new Chat({
    csrf: () => cookie(boot.csrf_cookie),
    ...(userId && { userId }),
    ...(storageWorks() && { keeper: storageKeeper(localStorage, outboxPrefix(userId)) }),
  });
  return { boot, chat, userId };
}

function storageWorks(): boolean {
  try {
    return Boolean(localStorage);
  } catch {
    return false;
  }
}

/** Draw again when a topic of the client changed. */
export function useTopic(topic: string): number {
  const { topics } = useWorld().chat;
  const subscribe = useCallback((listener: () => void) => topics.on(topic, listener), [topics, topic]);
  return useSyncExternalStore(subscribe, () => topics.revision(topic));
}

export function useOpened(sessionId: string | null): Opened | undefined {
  const { chat } = useWorld();
  useTopic(`talk:${sessionId ?? ""}`);
  return sessionId ? chat.opened.get(sessionId) : undefined;
}

/** Text arrives more often than anybody reads; the longer it is, the more a drawing costs. */
export function drawEveryMs(length: number): number {
  return Math.min(30 + length / 200, 100);
}

/** A draft as it grows, drawn at a pace that leaves the page free to scroll. */
export function useDraft(sessionId: string, messageId: string): Draft | undefined {
  const { chat } = useWorld();
  const [, draw] = useState(0);
  useEffect(() => {
    let frame = 0;
    let drawnAt = 0;
    const look = (now: number) => {
      frame = 0;
      const length = chat.draft(sessionId, messageId)?.text.length ?? 0;
      if (now - drawnAt < drawEveryMs(length)) return void (frame = requestAnimationFrame(look));
      drawnAt = now;
      draw((count) => count + 1);
    };
    const off = chat.topics.on(`draft:${messageId}`, () => (frame ||= requestAnimationFrame(look)));
    return () => {
      off();
      cancelAnimationFrame(frame);
    };
  }, [chat, sessionId, messageId]);
  return chat.draft(sessionId, messageId);
}

/** The time, as often as asked: for what counts down. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export const AgentsContext = createContext<readonly Agent[]>([]);
export const useAgents = (): readonly Agent[] => useContext(AgentsContext);
