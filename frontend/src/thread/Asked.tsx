/** What a person said, and what is on its way to be said. */

import { memo } from "react";
import { useTopic, useWorld } from "../app/context";
import type { Message, Unsent } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { CopyButton } from "../ui/CopyButton";
import { clock } from "../ui/format";
import { Icon } from "../ui/Icon";
import { useProblemText } from "../ui/problems";
import { straight } from "../ui/turning";

export const Asked = memo(function Asked({ message }: { message: Message }) {
  const { boot } = useWorld();
  const { t, tag } = useWords();
  const mine = message.key !== null || message.author.name === boot.user?.username;
  const name = straight(message.author.title || message.author.name);
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
  const problem: { code: string; message: string; temporary?: boolean } | null = unsent.problem;
  const online = chat.connection.isReady;
  const refused = problem !== null && !problem.temporary;
  const state = refused ? "unsent.refused" : !online ? "unsent.waiting" : problem ? "unsent.held" : "unsent.sending";
  const drop = () => chat.outbox.remove(unsent.key);
  return (
    <article className="asked mine unsent" aria-label={t("said", { name: t("you") })}>
      <header>
        <span className="state">
          {refused ? null : <Icon name="clock" size={13} />}
          {t(state)}
        </span>
      </header>
      <div className="bubble">
        <Markdown text={unsent.content} breaks />
      </div>
      {problem && (refused || online) ? (
        <p className="problem" role={refused ? "alert" : "status"}>
          <Icon name="warn" size={15} />
          <span>{textOf(problem)}</span>
          {refused ? (
            <button type="button" onClick={() => chat.outbox.again(unsent.key)}>
              {t("unsent.again")}
            </button>
          ) : null}
          <button type="button" onClick={drop}>
            {t("unsent.drop")}
          </button>
        </p>
      ) : online ? null : (
        <button type="button" className="quiet small" onClick={drop}>
          {t("unsent.drop")}
        </button>
      )}
    </article>
  );
}
