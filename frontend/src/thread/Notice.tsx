/** What the system says: that an answer failed, that a question ran out of time, or that something happened. */

import { useState } from "react";
import { useWorld } from "../app/context";
import type { Message } from "../client";
import { useWords, type Words } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { Icon } from "../ui/Icon";
import { failureText, lateText } from "../ui/problems";

/** What it says in the reader's language, where it is one of the things that the page knows. */
export function contentOf(message: Message, words: Words): string {
  const { error, ask_again, interrupt_ids } = message.data;
  if (message.role !== "system") return message.content;
  if (message.kind === "error") return failureText(error, message.content, words);
  return ask_again && Array.isArray(interrupt_ids) ? lateText(message.content, words) : message.content;
}

export function Notice({ message }: { message: Message }) {
  const { chat } = useWorld();
  const words = useWords();
  const { t } = words;
  const [asked, setAsked] = useState(false);
  const failed = message.kind === "error";
  const again = message.data.ask_again;
  return (
    <article
      className={failed ? "notice-row error" : "notice-row"}
      data-message-id={message.message_id}
      aria-label={failed ? t("notice.error") : t("notice")}
    >
      <Icon name={failed ? "warn" : "info"} size={16} />
      <Markdown text={contentOf(message, words)} breaks />
      {again?.content ? (
        <button
          type="button"
          className="small"
          disabled={asked}
          onClick={() => {
            setAsked(true);
            chat.say(message.session_id, again.content, again.agent ? { agent: again.agent } : {});
          }}
        >
          <Icon name="retry" size={15} />
          {t("notice.ask_again")}
        </button>
      ) : null}
    </article>
  );
}
