/** The keys that work everywhere, and the sheet that tells them. */

import { useEffect } from "react";
import { useWords } from "../i18n";
import type { Key } from "../i18n";
import { Dialog } from "../ui/Dialog";

const MAC = /mac|iphone|ipad/i.test(navigator.platform);
const MOD = MAC ? "⌘" : "Ctrl";

const KEYS: readonly (readonly [string, Key])[] = [
  ["Enter", "keys.send"],
  ["Shift + Enter", "keys.line"],
  ["Esc", "keys.stop"],
  ["↑", "keys.edit"],
  ["@", "keys.mention"],
  ["/", "keys.compose"],
  [`${MOD} + K`, "keys.search"],
  ["Alt + N", "keys.new"],
  ["Alt + ↑ ↓", "keys.switch"],
  ["Alt + I", "keys.inbox"],
  ["?", "keys.help"],
];

export interface Actions {
  compose: () => void;
  search: () => void;
  fresh: () => void;
  step: (by: number) => void;
  inbox: () => void;
  help: () => void;
  /** Close what is open, or else stop the answer, unless one types elsewhere; whether there was something. */
  escape: (mayStop: boolean) => boolean;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function isComposer(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.id === "composer";
}

export function useShortcuts(actions: Actions): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing || event.keyCode === 229) return;
      const mod = MAC ? event.metaKey : event.ctrlKey;
      const act = (what: () => void) => {
        event.preventDefault();
        what();
      };
      if (mod && !event.altKey && event.key.toLowerCase() === "k") return act(actions.search);
      if (event.altKey && !mod) {
        // By the place of the key: with Alt a Mac writes other letters, which are meant where one types.
        if (MAC && isTyping(event.target) && event.code.startsWith("Key")) return;
        if (event.code === "KeyN") return act(actions.fresh);
        if (event.code === "KeyI") return act(actions.inbox);
        if (event.code === "ArrowUp") return act(() => actions.step(-1));
        if (event.code === "ArrowDown") return act(() => actions.step(1));
        return;
      }
      if (event.key === "Escape" && actions.escape(!isTyping(event.target) || isComposer(event.target))) return event.preventDefault();
      if (mod || isTyping(event.target)) return;
      if (event.key === "/") act(actions.compose);
      else if (event.key === "?") act(actions.help);
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [actions]);
}

export function Help({ onClose }: { onClose: () => void }) {
  const { t } = useWords();
  return (
    <Dialog title={t("keys")} onClose={onClose}>
      <table className="keys">
        <tbody>
          {KEYS.map(([key, what]) => (
            <tr key={what}>
              <th scope="row">
                {key.split(" ").map((part, index) => (part === "+" ? " + " : <kbd key={index}>{part}</kbd>))}
              </th>
              <td>{t(what)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}
