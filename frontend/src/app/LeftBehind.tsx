/** What one wrote in a session that is gone, and that was not sent: nobody else has it. */

import { useState } from "react";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { CopyButton } from "../ui/CopyButton";
import { useTopic, useWorld } from "./context";
import { draftName, read, write } from "./store";

export function LeftBehind({ sessionId }: { sessionId: string }) {
  const { chat, userId } = useWorld();
  const { t } = useWords();
  useTopic("outbox");
  const name = draftName(userId, sessionId);
  const [draft, setDraft] = useState(() => read(name) ?? "");
  const unsent = chat.outbox.of(sessionId).filter((one) => !one.sent);
  if (!unsent.length && !draft.trim()) return null;
  const dropDraft = () => {
    write(name, null);
    setDraft("");
  };
  return (
    <section className="left-behind" aria-label={t("session.gone.left")}>
      <p>{t("session.gone.left")}</p>
      {unsent.map((one) => (
        <Words key={one.key} text={one.content} onDrop={() => chat.outbox.remove(one.key)} />
      ))}
      {draft.trim() ? <Words text={draft} onDrop={dropDraft} /> : null}
    </section>
  );
}

function Words({ text, onDrop }: { text: string; onDrop: () => void }) {
  const { t } = useWords();
  return (
    <article className="asked mine unsent">
      <div className="bubble">
        <Markdown text={text} breaks />
      </div>
      <div className="buttons">
        <CopyButton text={() => text} label={t("message.copy")} />
        <button type="button" className="quiet small" onClick={onDrop}>
          {t("unsent.drop")}
        </button>
      </div>
    </article>
  );
}
