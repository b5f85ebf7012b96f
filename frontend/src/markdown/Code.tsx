/** A block of code: its language, its colours, a button that copies it. */

import { memo, type ReactNode, useEffect, useState } from "react";
import { useWords } from "../i18n";
import { CopyButton } from "../ui/CopyButton";
import type { Piece } from "./highlight";

type Highlight = typeof import("./highlight");

let loading: Promise<Highlight> | null = null;
let loaded: Highlight | null = null;

const TOO_LONG = 30_000; // characters: beyond it colours would cost more than they help

function useHighlight(wanted: boolean): Highlight | null {
  const [module, setModule] = useState(loaded);
  useEffect(() => {
    if (!wanted || module) return;
    loading ??= import("./highlight");
    let here = true;
    loading.then(
      (done) => {
        loaded = done;
        if (here) setModule(done);
      },
      () => (loading = null), // offline: the next block of code tries again
    );
    return () => void (here = false);
  }, [wanted, module]);
  return module;
}

function draw(pieces: readonly Piece[]): ReactNode[] {
  return pieces.map((piece, index) =>
    typeof piece === "string" ? (
      piece
    ) : (
      <span key={index} className={piece.className}>
        {draw(piece.children)}
      </span>
    ),
  );
}

export const Code = memo(function Code({ code, language }: { code: string; language: string }) {
  const { t } = useWords();
  const name = /^[\w+#.-]{1,30}/.exec(language)?.[0] ?? "";
  const wanted = name !== "" && code.length < TOO_LONG;
  const module = useHighlight(wanted);
  const pieces = wanted && module ? module.highlight(code, name.toLowerCase()) : null;
  return (
    <figure className="code">
      <figcaption>
        <span>{name || t("code.plain")}</span>
        <CopyButton text={() => code} label={t("code.copy")} small />
      </figcaption>
      {/* Scrolls sideways, so it can be reached by keyboard. */}
      <pre tabIndex={0} aria-label={name || t("code.plain")}>
        <code>{pieces ? draw(pieces) : code}</code>
      </pre>
    </figure>
  );
});
