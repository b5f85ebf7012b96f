/** A page without a session yet: a greeting, and a few ways to begin. */

import { useWords } from "../i18n";
import type { Key } from "../i18n";
import { Icon, type IconName } from "../ui/Icon";
import { useWorld } from "./context";

const SUGGESTIONS: readonly [IconName, Key, Key][] = [
  ["spark", "suggest.can", "suggest.can.text"],
  ["edit", "suggest.draft", "suggest.draft.text"],
  ["tool", "suggest.incident", "suggest.incident.text"],
  ["thought", "suggest.explain", "suggest.explain.text"],
];

export function Empty({ busy, onPick }: { busy: boolean; onPick: (text: string) => void }) {
  const { boot } = useWorld();
  const { t } = useWords();
  const name = boot.user?.name || boot.user?.username || "";
  return (
    <div className="empty">
      <h2>{name ? t("empty.hello", { name }) : t("empty.hi")}</h2>
      <p>{t("empty.what")}</p>
      <div className="suggestions">
        {SUGGESTIONS.map(([icon, title, text]) => (
          <button key={title} type="button" disabled={busy} onClick={() => onPick(t(text))}>
            <Icon name={icon} />
            <strong>{t(title)}</strong>
            <span>{t(text)}</span>
          </button>
        ))}
      </div>
    </div>
  );
}
