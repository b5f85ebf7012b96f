/** One session of the list, with what can be done to it. */

import { memo, type MouseEvent, useRef, useState } from "react";
import { useWorld } from "../app/context";
import { pathOf } from "../app/route";
import type { Session } from "../client";
import { useWords } from "../i18n";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { type Choice, Menu } from "../ui/Menu";
import { useNotices } from "../ui/Notices";
import { straight } from "../ui/turning";

interface Props {
  session: Session;
  current: boolean;
  onOpen: (sessionId: string | null) => void;
}

export const SessionRow = memo(function SessionRow({ session, current, onOpen }: Props) {
  const { chat } = useWorld();
  const { t } = useWords();
  const { attempt } = useNotices();
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const { session_id: id, status } = session;
  const title = straight(session.title) || t("session.untitled");
  const closed = status === "closed";

  const open = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return; // a new tab is the browser's affair
    event.preventDefault();
    onOpen(id);
  };

  if (renaming) {
    const save = (value: string) => {
      setRenaming(false);
      if (value !== session.title) void attempt(chat.changeSession(id, { title: value.trim() }));
    };
    return <Rename title={session.title} onSave={save} onCancel={() => setRenaming(false)} />;
  }
  const mine = session.my_role === "owner";
  const may = session.my_role !== "viewer";
  const choices: Choice[] = [];
  if (may) {
    choices.push({ key: "rename", label: t("session.rename"), icon: <Icon name="edit" size={16} />, onChoose: () => setRenaming(true) });
    choices.push({
      key: "archive",
      label: t(closed ? "session.unarchive" : "session.archive"),
      icon: <Icon name="archive" size={16} />,
      onChoose: () => void attempt(chat.archive(id, !closed)),
    });
  }
  if (mine) choices.push({ key: "delete", label: `${t("session.delete")}…`, danger: true, icon: <Icon name="trash" size={16} />, onChoose: () => setDeleting(true) });

  return (
    <div className="session" data-current={current} data-status={status}>
      <a href={pathOf(id)} aria-current={current ? "page" : undefined} onClick={open}>
        <span className="title">{title}</span>
        <Sign status={status} />
      </a>
      {choices.length ? <Menu label={t("session.actions", { title })} button={<Icon name="more" size={16} />} choices={choices} /> : null}
      {deleting ? (
        <Dialog title={t("session.delete")} onClose={() => setDeleting(false)}>
          <p>{t("session.delete_sure", { title })}</p>
          <div className="buttons">
            <button
              type="button"
              className="danger"
              onClick={() => {
                setDeleting(false);
                void attempt(chat.remove(id).then(() => current && onOpen(null)));
              }}
            >
              {t("session.delete")}
            </button>
            <button type="button" onClick={() => setDeleting(false)}>
              {t("cancel")}
            </button>
          </div>
        </Dialog>
      ) : null}
    </div>
  );
});

function Sign({ status }: { status: Session["status"] }) {
  const { t } = useWords();
  if (status === "active") return <span className="sign working" role="img" aria-label={t("status.active")} title={t("status.active")} />;
  if (status === "interrupted") return <span className="sign asks" role="img" aria-label={t("status.interrupted")} title={t("status.interrupted")} />;
  if (status === "closed") return <Icon name="archive" size={14} />;
  if (status === "completed") return <Icon name="check" size={14} />;
  return null;
}

function Rename({ title, onSave, onCancel }: { title: string; onSave: (value: string) => void; onCancel: () => void }) {
  const { t } = useWords();
  const [value, setValue] = useState(title);
  const over = useRef(false); // a field that goes loses the focus too: that is no second answer
  const end = (what: () => void) => {
    if (over.current) return;
    over.current = true;
    what();
  };
  return (
    <form
      className="session rename"
      onSubmit={(event) => {
        event.preventDefault();
        end(() => onSave(value));
      }}
    >
      <input
        autoFocus
        value={value}
        maxLength={200}
        aria-label={t("session.rename")}
        onFocus={(event) => event.target.select()}
        onChange={(event) => setValue(event.target.value)}
        onBlur={() => end(() => onSave(value))}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          end(onCancel);
        }}
      />
    </form>
  );
}
