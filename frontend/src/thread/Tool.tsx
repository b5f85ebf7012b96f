/** A tool that an agent used: what with, what came of it, how long it took. */

import { memo } from "react";
import { useAgents } from "../app/context";
import { type Author, type Json, stringify, type ToolStatus } from "../client";
import { useWords } from "../i18n";
import type { Key } from "../i18n";
import { CopyButton } from "../ui/CopyButton";
import { seconds } from "../ui/format";
import { Icon } from "../ui/Icon";
import { inSight } from "../ui/turning";
import { Face } from "./Answer";
import type { Item } from "./items";

const WORKING: ToolStatus = "called";
const STATUSES = ["waiting", "held", "called", "returned", "failed", "refused", "skipped", "unknown", "cancelled"];

export function jsonText(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return inSight(typeof value === "string" ? value : stringify(value, 2));
}

/** The arguments in one line, to recognise the call by. */
function gist(args: Json): string {
  if (args === null || typeof args !== "object") return jsonText(args);
  return Object.values(args)
    .filter((value) => value !== null)
    .map((value) => (typeof value === "string" ? value : stringify(value)))
    .map(inSight)
    .join(" · ")
    .slice(0, 120);
}

export const Tool = memo(function Tool({ item }: { item: Extract<Item, { kind: "tool" }> }) {
  const words = useWords();
  const { t } = words;
  const { message } = item;
  const call = message.data.tool_call;
  const agents = useAgents();
  if (!call) return null;
  const status: Key = STATUSES.includes(call.status) ? (`tool.${call.status}` as Key) : "tool.unknown";
  const args = jsonText(call.args);
  const problem = jsonText(call.error as Json);
  const result = inSight(message.content) || jsonText(call.result);
  const agent = agents.find((one) => one.name === message.author.name);
  const author: Author = { ...message.author, title: message.author.title || agent?.title || "" };
  return (
    <article className="answer" data-message-id={message.message_id} data-run-id={message.run_id}>
      {item.first ? <Face author={author} at={message.created_at} /> : null}
      <details className="tool" data-status={call.status}>
        <summary>
          <Icon name="tool" size={15} />
          <code>{call.tool}</code>
          <span className="gist">{gist(call.args)}</span>
          <span className={call.status === WORKING ? "status shimmer" : "status"}>{t(status)}</span>
          {typeof call.duration_s === "number" ? <small>{seconds(call.duration_s, words)}</small> : null}
        </summary>
        <div className="tool-body">
          {args && args !== "{}" ? <Part title={t("tool.args")} text={args} /> : null}
          {problem ? <Part title={t("tool.error")} text={problem} /> : null}
          {result ? <Part title={t("tool.result")} text={result} /> : null}
        </div>
      </details>
    </article>
  );
});

const SHOWN = 20_000; // characters of a result: more than anybody reads, less than stalls a page

function Part({ title, text }: { title: string; text: string }) {
  const { t } = useWords();
  return (
    <section>
      <h3>
        {title}
        <CopyButton text={() => text} label={t("copy")} />
      </h3>
      <pre tabIndex={0} aria-label={title}>
        {text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text}
      </pre>
    </section>
  );
}
