/** Copies a text, and says so for a moment. */

import { useEffect, useState } from "react";
import { useWords } from "../i18n";
import { Icon } from "./Icon";

const SAYS_SO_MS = 1600;

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard without https: the old way still works there.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "off-screen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function CopyButton({ text, label, small = false }: { text: () => string; label: string; small?: boolean }) {
  const { t } = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SAYS_SO_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const name = copied ? t("copied") : label;
  return (
    <button
      type="button"
      className={small ? "quiet small" : "quiet icon-only"}
      aria-label={name}
      title={name}
      onClick={async () => setCopied(await copyText(text()))}
    >
      <Icon name={copied ? "check" : "copy"} size={15} />
      {small ? <span>{copied ? t("copied") : t("copy")}</span> : null}
    </button>
  );
}
