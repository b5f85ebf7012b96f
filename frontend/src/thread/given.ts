/**
 * What was typed into the card of a question, by the question. The card goes when it is scrolled out of sight, and there
 * may be two of it; what was typed is neither lost, nor another text in each.
 */

import { useCallback } from "react";
import { useTopic, useWorld } from "../app/context";
import type { Chat, Id, JsonObject } from "../client";

export interface Given {
  /** The changed arguments of a call, by name; NaN where a number is none yet. */
  values?: JsonObject;
  /** The same as JSON, as it was typed. */
  json?: string;
  refusing?: boolean;
  reason?: string;
  text?: string;
}

const NOTHING: Given = {};
const givenTo = new WeakMap<Chat, Map<Id, Given>>();

export function useGiven(interruptId: Id): [Given, (change: Given) => void] {
  const { chat } = useWorld();
  const topic = `given:${interruptId}`;
  useTopic(topic);
  let kept = givenTo.get(chat);
  if (!kept) givenTo.set(chat, (kept = new Map()));
  const given = kept.get(interruptId) ?? NOTHING;
  const give = useCallback(
    (change: Given) => {
      const all = givenTo.get(chat)!;
      all.set(interruptId, { ...all.get(interruptId), ...change });
      chat.topics.tell(topic);
    },
    [chat, interruptId, topic],
  );
  return [given, give];
}
