/** What waits behind the answer under way: to be changed, moved or taken back until its turn comes. */

import { type FormEvent, useEffect, useState } from "react";
import { useWorld } from "../app/context";
import type { Message, Run, Talk } from "../client";
import { useWords } from "../i18n";
import { questionOf, waitingRuns } from "../thread/items";
import { Icon } from "../ui/Icon";
import { useNotices } from "../ui/Notices";
import { isComposing } from "./Composer";

interface Props {
  talk: Talk;
  editing: string | null;
  onEdit: (runId: string | null) => void;
}

export function Queue({ talk, editing, onEdit }: Props) {
  const { chat } = useWorld();
  const { t } = useWords();
  const { attempt } = useNotices();
  const runs = waitingRuns(talk);
  // One's turn may come while one edits: what was typed until then is not thrown away.
  const late = editing !== null && !runs.some((run) => run.run_id === editing) ? talk.runs.get(editing) : undefined;
  if (!runs.length && !late) return null;
  const shown = late ? [late, ...runs] : runs;
  const move = (run: Run, to: number) => {
    // Up: before the one ahead. Down: before the one after the next, or last.
    const before = to < runs.indexOf(run) ? runs[to] : runs[to + 1];
    void attempt(chat.move(run.run_id, before?.run_id ?? null));
  };
  return (
    <section className="queue" aria-label={t("queue")}>
      <h2>{t("queue.count", { count: runs.length })}</h2>
      <ol>
        {shown.map((run) => {
          const index = runs.indexOf(run);
          const message = questionOf(talk, run);
          return editing === run.run_id && message ? (
            <li key={run.run_id}>
              <Edit message={message} late={run === late} onDone={() => onEdit(null)} />
            </li>
          ) : run === late ? null : (
            <li key={run.run_id}>
              <span className="words">{message?.content ?? t("queue.retry")}</span>
              <Tool icon="up" label={t("queue.up")} disabled={index === 0} onClick={() => move(run, index - 1)} />
              <Tool icon="down" label={t("queue.down")} disabled={index === runs.length - 1} onClick={() => move(run, index + 1)} />
              <Tool icon="edit" label={t("queue.edit")} disabled={!message} onClick={() => onEdit(run.run_id)} />
              <Tool icon="trash" label={t("queue.remove")} onClick={() => chat.cancel(run.run_id)} />
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function Tool({ icon, label, disabled = false, onClick }: { icon: "up" | "down" | "edit" | "trash"; label: string; disabled?: boolean; onClick: () => void }) {
  return (
    <button type="button" className="quiet icon-only" aria-label={label} title={label} disabled={disabled} onClick={onClick}>
      <Icon name={icon} size={15} />
    </button>
  );
}

function Edit({ message, late, onDone }: { message: Message; late: boolean; onDone: () => void }) {
  const { boot, chat } = useWorld();
  const { t } = useWords();
  const { attempt } = useNotices();
  const [text, setText] = useState(message.content);
  const [busy, setBusy] = useState(false);
  const unchanged = text === message.content;
  useEffect(() => {
    if (late && unchanged) onDone();
  });
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (!text.trim() || busy) return;
    if (unchanged) return onDone();
    if (late) {
      chat.say(message.session_id, text);
      return onDone();
    }
    setBusy(true);
    const taken = await attempt(chat.edit(message.message_id, text).then(() => true));
    setBusy(false);
    if (taken) onDone();
  };
  return (
    <form onSubmit={(event) => void save(event)} className="edit">
      {late ? (
        <p className="hint" role="alert">
          {t("queue.late")}
        </p>
      ) : null}
      <textarea
        autoFocus
        rows={2}
        maxLength={boot.max_content}
        value={text}
        aria-label={t("queue.edit")}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (isComposing(event)) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            onDone();
          } else if (event.key === "Enter" && !event.shiftKey) void save(event);
        }}
      />
      <div className="buttons">
        <button type="submit" className="primary" disabled={busy || !text.trim()}>
          {t(late ? "queue.send" : "save")}
        </button>
        <button type="button" onClick={onDone}>
          {t("cancel")}
        </button>
      </div>
    </form>
  );
}
