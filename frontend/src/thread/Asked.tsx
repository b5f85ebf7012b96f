/** What a person said, and what is on its way to be said. */

import { memo } from "react";
import { useTopic, useWorld } from "../app/context";
import type { Message, Unsent } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { CopyButton } from "../ui/CopyButton";
import { clock } from "../ui/format";
import { Icon } from "../ui/Icon";
import { useProblemText } from "../ui/Notices";

export const Asked = memo(function Asked({ message }: { message: Message }) {
  const { boot } = useWorld();
  const { t, tag } = useWords();
  const mine = message.key !== null || message.author.name === boot.user?.username;
  const name = message.author.title || message.author.name;
  return (
    <article className={mine ? "asked mine" : "asked"} data-message-id={message.message_id} aria-label={t("said", { name: mine ? t("you") : name })}>
      <header>
        {mine ? null : <strong>{name}</strong>}
        <time dateTime={message.created_at}>{clock(message.created_at, tag)}</time>
        <CopyButton text={() => message.content} label={t("message.copy")} />
      </header>
      <div className="bubble">
        <Markdown text={message.content} breaks />
      </div>
      {message.data.joined && !message.data.joined.read ? <p className="state wide">{t("joined.unread")}</p> : null}
    </article>
  );
});

export function UnsentMessage({ unsent }: { unsent: Unsent }) {
  const { chat } = useWorld();
  const { t } = useWords();
  const textOf = useProblemText();
  useTopic("connection");
  const { problem } = unsent;
  return (
    <article className="asked mine unsent" aria-label={t("said", { name: t("you") })}>
      <header>
        <span className="state">
          {problem ? null : <Icon name="clock" size={13} />}
          {problem ? t("unsent.refused") : chat.connection.isReady ? t("unsent.sending") : t("unsent.waiting")}
        </span>
      </header>
      <div className="bubble">
        <Markdown text={unsent.content} breaks />
      </div>
      {problem ? (
        <p className="problem" role="alert">
          <Icon name="warn" size={15} />
          <span>{textOf(problem)}</span>
          <button type="button" onClick={() => chat.outbox.again(unsent.key)}>
            {t("unsent.again")}
          </button>
          <button type="button" onClick={() => chat.outbox.remove(unsent.key)}>
            {t("unsent.drop")}
          </button>
        </p>
      ) : chat.connection.isReady ? null : (
        <button type="button" className="quiet small" onClick={() => chat.outbox.remove(unsent.key)}>
          {t("unsent.drop")}
        </button>
      )}
    </article>
  );
}
