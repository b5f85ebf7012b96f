/** `@` and the beginning of a name: the agents that could be meant. */

import { type KeyboardEvent, type RefObject, useId, useMemo, useState } from "react";
import type { Agent } from "../client";
import { useWords } from "../i18n";
import { Avatar } from "../ui/Avatar";

export interface Pick {
  text: string;
  caret: number;
}

// Before an @: the end of an address's own part, of a link, or code. As the server reads it.
const NO_MENTION = /[._%+\-/`@＠]$/;
// Chinese and Japanese letters join no word with what follows; those of other scripts, and digits, do.
const IN_A_WORD = /[\p{L}\p{N}]$/u;
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\uff01-\uff60]$/u;

/**
 * The beginning of a name right before the caret. What is typed may be a title as well, so that its letters are any;
 * within a sentence of Chinese it begins at the last @.
 */
export function mentionAt(text: string, caret: number): { start: number; begun: string } | null {
  const found = /[@＠]([\p{L}\p{N}\p{M}_-]{0,64})$/u.exec(text.slice(0, caret));
  if (!found) return null;
  const before = text.slice(0, found.index);
  if (NO_MENTION.test(before) || (IN_A_WORD.test(before) && !WIDE.test(before))) return null;
  return { start: found.index, begun: found[1]! };
}

export interface MentionState {
  id: string;
  open: boolean;
  at: number;
  found: readonly Agent[];
  start: number;
  caret: number;
  text: string;
  look: () => void;
  close: () => void;
  onKeyDown: (event: KeyboardEvent, pick: (pick: Pick) => void) => boolean;
}

export function useMentions(text: string, area: RefObject<HTMLTextAreaElement | null>, agents: readonly Agent[]): MentionState {
  const id = useId();
  const [caret, setCaret] = useState(0);
  const [chosen, setChosen] = useState(0);
  const [closedFor, setClosedFor] = useState<string | null>(null);
  const mention = mentionAt(text, caret);
  const found = useMemo(() => {
    if (!mention) return [];
    const begun = mention.begun.toLowerCase();
    return agents
      .filter((agent) => agent.enabled)
      .filter((agent) => agent.name.toLowerCase().startsWith(begun) || agent.title.toLowerCase().startsWith(begun))
      .slice(0, 8);
  }, [agents, mention?.begun]); // eslint-disable-line react-hooks/exhaustive-deps -- the object is a new one each time
  const open = found.length > 0 && closedFor !== mention?.begun;
  const at = Math.min(chosen, Math.max(found.length - 1, 0));
  const state: MentionState = {
    id,
    open,
    at,
    found,
    start: mention?.start ?? 0,
    caret,
    text,
    look: () => {
      setCaret(area.current?.selectionStart ?? 0);
      setClosedFor(null);
    },
    close: () => setClosedFor(mention?.begun ?? null),
    onKeyDown: (event, pick) => {
      if (!open) return false;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) setChosen((at + step + found.length) % found.length);
      else if (event.key === "Enter" || event.key === "Tab") pick(picked(state, found[at]!));
      else if (event.key === "Escape") {
        event.stopPropagation();
        setClosedFor(mention?.begun ?? null);
      } else return false;
      event.preventDefault();
      return true;
    },
  };
  return state;
}

function picked({ text, start, caret }: MentionState, agent: Agent): Pick {
  const before = `${text.slice(0, start)}@${agent.name} `;
  return { text: before + text.slice(caret).replace(/^ /, ""), caret: before.length };
}

export function Mentions({ state, onPick }: { state: MentionState; onPick: (pick: Pick) => void }) {
  const { t } = useWords();
  if (!state.open) return null;
  return (
    <ul className="mentions" role="listbox" id={state.id} aria-label={t("agents")}>
      {state.found.map((agent, index) => (
        // The text field keeps the focus and the keys: see aria-activedescendant there.
        <li
          key={agent.name}
          id={`${state.id}-${index}`}
          role="option"
          aria-selected={index === state.at}
          onPointerDown={(event) => {
            event.preventDefault();
            onPick(picked(state, agent));
          }}
        >
          <Avatar author={agent} small />
          <strong>@{agent.name}</strong>
          <span>{agent.title}</span>
        </li>
      ))}
    </ul>
  );
}
