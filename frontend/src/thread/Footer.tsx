/** Under an answer: what it cost and took, and what can be done with it. */

import { useMemo } from "react";
import { useWorld } from "../app/context";
import type { Run, Talk } from "../client";
import { useWords, type Words } from "../i18n";
import { CopyButton } from "../ui/CopyButton";
import { money, number, seconds } from "../ui/format";
import { Icon } from "../ui/Icon";
import { useNotices } from "../ui/Notices";
import type { Item } from "./items";

/** From the start of the work to its end, in seconds. */
export function tookS(run: Run): number | null {
  const end = run.succeeded_at ?? run.failed_at ?? run.cancelled_at;
  if (!end || !run.started_at) return null;
  return Math.max((Date.parse(end) - Date.parse(run.started_at)) / 1000, 0);
}

export function Footer({ item, talk }: { item: Extract<Item, { kind: "footer" }>; talk: Talk }) {
  const { chat } = useWorld();
  const words = useWords();
  const { t } = words;
  const { attempt } = useNotices();
  const { run } = item;
  const facts = useMemo(() => (run ? factsOf(run, words) : []), [run, words]);
  const text = () =>
    item.messageIds
      .map((id) => talk.messages.get(id)?.content ?? "")
      .filter(Boolean)
      .join("\n\n");
  const again = run && (run.status === "failed" || run.status === "cancelled");
  const taken = run?.status === "cancelled" && !item.messageIds.length;
  return (
    <footer className={taken ? "answer-footer taken" : "answer-footer"} data-run-id={item.runId}>
      {taken ? <span className="facts">{t(run.started_at ? "answer.stopped_early" : "answer.taken_back")}</span> : null}
      {item.messageIds.length ? <CopyButton text={text} label={t("answer.copy")} /> : null}
      {again ? (
        <button type="button" className="quiet small" onClick={() => void attempt(chat.retry(run.run_id))}>
          <Icon name="retry" size={15} />
          <span>{t("answer.retry")}</span>
        </button>
      ) : null}
      {facts.length && !taken ? <span className="facts">{facts.join(" · ")}</span> : null}
    </footer>
  );
}

function factsOf(run: Run, words: Words): string[] {
  const { t, tag } = words;
  const facts: string[] = [];
  const { input_tokens, output_tokens, cost_usd } = run.usage;
  if (run.llm) facts.push(run.llm.split("?")[0] ?? run.llm);
  if (input_tokens + output_tokens > 0) {
    facts.push(t("answer.tokens", { in: number(input_tokens, tag), out: number(output_tokens, tag) }));
  }
  if (cost_usd > 0) facts.push(money(cost_usd, tag));
  const took = tookS(run);
  if (took !== null) facts.push(seconds(took, words));
  return facts;
}
