/** What the system says: that an answer failed, that a question ran out of time, or that something happened. */

import { useState } from "react";
import { useWorld } from "../app/context";
import type { Message } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { Icon } from "../ui/Icon";

export function Notice({ message }: { message: Message }) {
  const { chat } = useWorld();
  const { t } = useWords();
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
      <Markdown text={message.content} breaks />
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
