/** What an agent said, or is saying: one element for both, so that the end of an answer moves nothing. */

import { memo } from "react";
import { useAgents, useDraft } from "../app/context";
import type { Author, MessageExtra } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { Avatar, colours } from "../ui/Avatar";
import { clock } from "../ui/format";
import { Icon } from "../ui/Icon";
import { straight } from "../ui/turning";
import type { Item } from "./items";

interface Props {
  item: Extract<Item, { kind: "answer" }>;
  sessionId: string;
  thoughts: string | undefined;
}

export const Answer = memo(function Answer({ item, sessionId, thoughts }: Props) {
  const draft = useDraft(sessionId, item.messageId);
  const { message } = item;
  const author = message?.author ?? draft?.author ?? null;
  const text = message?.content ?? draft?.text ?? "";
  const thought = message ? (message.data.reasoning ?? thoughts) : draft?.reasoning;
  return (
    <article className="answer" data-message-id={item.messageId} data-run-id={item.runId} aria-busy={!message}>
      {item.first && author ? <Face author={author} at={message?.created_at} /> : null}
      <div className="said">
        {item.restarted === undefined ? null : <Restarted reason={item.restarted} />}
        {thought ? <Thoughts text={thought} open={!message && !text} /> : null}
        {text ? <Markdown text={text} writing={!message} /> : null}
        {!text && !thought ? <Dots /> : null}
        {message ? <Cut {...message.data} /> : null}
      </div>
    </article>
  );
});

/** Why it is not whole, where it is not. */
function Cut({ interrupted, cut }: MessageExtra) {
  const { t } = useWords();
  if (!interrupted && !cut) return null;
  return (
    <p className="cut">
      <Icon name="stop" size={13} />
      {t(interrupted ? "answer.stopped" : cut === "length" ? "answer.too_long" : "answer.refused")}
    </p>
  );
}

export function Face({ author, at }: { author: Author; at?: string | undefined }) {
  const { tag } = useWords();
  const agent = useAgents().find((one) => one.name === author.name);
  const who = { ...author, avatar: author.avatar || agent?.avatar || "", color: author.color || agent?.color || "" };
  return (
    <header className="face" style={colours(who)}>
      <Avatar author={who} />
      <strong>{straight(author.title || agent?.title || author.name)}</strong>
      {at ? <time dateTime={at}>{clock(at, tag)}</time> : null}
    </header>
  );
}

export function Dots() {
  const { t } = useWords();
  return (
    <p className="dots" role="img" aria-label={t("answer.thinking")}>
      <i />
      <i />
      <i />
    </p>
  );
}

/** Why what one has read is being written again. */
export function Restarted({ reason }: { reason: string }) {
  const { t } = useWords();
  return (
    <p className="restarted">
      <Icon name="retry" size={14} />
      {reason === "drained" ? t("restart.drained") : t("restart.lost")}
    </p>
  );
}

/** Folded unless it is all that there is yet; then it opens for whoever wants to follow. */
function Thoughts({ text, open }: { text: string; open: boolean }) {
  const { t } = useWords();
  return (
    <details className="thoughts">
      <summary>
        <Icon name="thought" size={15} />
        <span className={open ? "shimmer" : undefined}>{open ? t("answer.thinking") : t("answer.thoughts")}</span>
      </summary>
      <Markdown text={text} writing={open} />
    </details>
  );
}
