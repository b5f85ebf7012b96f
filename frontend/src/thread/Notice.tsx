/** What the system says: that an answer failed, or that something happened. */

import type { Message } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { Icon } from "../ui/Icon";

export function Notice({ message }: { message: Message }) {
  const { t } = useWords();
  const failed = message.kind === "error";
  return (
    <article className={failed ? "notice-row error" : "notice-row"} data-message-id={message.message_id} aria-label={failed ? t("notice.error") : t("notice")}>
      <Icon name={failed ? "warn" : "info"} size={16} />
      <Markdown text={message.content} breaks />
    </article>
  );
}
