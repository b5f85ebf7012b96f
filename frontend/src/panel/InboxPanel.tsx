/** The questions that wait for a person, of all sessions. */

import { useTopic, useWorld } from "../app/context";
import { useWords } from "../i18n";
import { Question } from "../thread/Question";
import { Boundary, BrokenPart } from "../ui/Boundary";

export function InboxPanel({ onOpen }: { onOpen: (sessionId: string) => void }) {
  const { chat } = useWorld();
  const { t } = useWords();
  useTopic("inbox");
  useTopic("sessions");
  if (!chat.inbox.rows.length) return <p className="hint">{t("inbox.empty")}</p>;
  return (
    <ul className="inbox">
      {chat.inbox.rows.map((row) => (
        <li key={row.interrupt_id}>
          <button type="button" className="quiet from" onClick={() => onOpen(row.session_id)}>
            {chat.sessions.row(row.session_id)?.title || t("session.untitled")}
          </button>
          <Boundary broken={<BrokenPart />} of={row}>
            <Question interrupt={row} compact />
          </Boundary>
        </li>
      ))}
    </ul>
  );
}
