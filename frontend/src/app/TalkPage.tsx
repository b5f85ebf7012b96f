/** The middle of the page: one session, or the beginning of a new one. */

import { type ReactNode, useEffect, useRef, useState } from "react";
import { Composer } from "../composer/Composer";
import { Queue } from "../composer/Queue";
import type { SendOptions } from "../client";
import { useWords } from "../i18n";
import { waitingRuns } from "../thread/items";
import { Thread } from "../thread/Thread";
import { useNotices } from "../ui/Notices";
import { useOpened, useTopic, useWorld } from "./context";
import { Empty } from "./Empty";
import { LeftBehind } from "./LeftBehind";
import { go, sessionOf } from "./route";
import { choiceName, read, write } from "./store";

export function TalkPage({ sessionId }: { sessionId: string | null }) {
  const { chat, userId } = useWorld();
  const { t } = useWords();
  const { attempt } = useNotices();
  const opened = useOpened(sessionId);
  const [editing, setEditing] = useState<string | null>(null);
  const [agent, setAgent] = useState("");
  const creating = useRef(false); // a second click may come before the first is drawn
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (!sessionId) return;
    void chat.open(sessionId);
    return () => chat.leave(sessionId);
  }, [chat, sessionId]);

  const talk = opened?.status === "ready" ? opened.talk : undefined;
  const session = talk?.session ?? null;
  const running = talk?.openRuns().find((run) => run.status !== "queued") ?? talk?.openRuns()[0];

  const onSend = async (content: string, options: SendOptions): Promise<boolean> => {
    if (sessionId) {
      chat.say(sessionId, content, options);
      return true;
    }
    if (creating.current) return false;
    creating.current = true;
    setBusy(true);
    const made = await attempt(chat.createSession(agent ? { agent } : {}));
    creating.current = false;
    setBusy(false);
    if (!made) return false;
    setAgent("");
    if (options.llm) write(choiceName(userId, `llm.${made.session_id}`), options.llm);
    chat.say(made.session_id, content, options);
    if (!sessionOf(location.pathname)) go(made.session_id); // whoever went elsewhere meanwhile stays there
    return true;
  };

  const onPick = (text: string) => {
    const llm = read(choiceName(userId, "llm.new"));
    void onSend(text, llm ? { llm } : {});
  };

  const onEditLast = () => {
    const last = talk && waitingRuns(talk).at(-1);
    if (last) setEditing(last.run_id);
  };

  if (sessionId && opened?.status === "missing") {
    return (
      <main className="talk">
        <Problem title={t("session.gone")} text={t("session.gone.text")}>
          <LeftBehind key={sessionId} sessionId={sessionId} />
        </Problem>
      </main>
    );
  }
  return (
    <main className="talk" data-empty={!sessionId}>
      {sessionId && !talk ? (
        opened?.status === "failed" ? (
          <Problem title={t("session.failed")} text={t("error.offline")} onRetry={() => void chat.open(sessionId)} />
        ) : (
          <Skeleton />
        )
      ) : null}
      {sessionId && talk && opened ? <Thread key={sessionId} opened={opened} sessionId={sessionId} /> : null}
      {sessionId ? null : <Empty busy={busy} onPick={onPick} />}
      <div className="below">
        {sessionId ? <TypingLine sessionId={sessionId} /> : null}
        {talk ? <Queue talk={talk} editing={editing} onEdit={setEditing} /> : null}
        <Composer
          key={sessionId ?? "new"}
          sessionId={sessionId}
          session={session}
          running={running}
          agent={agent}
          onAgent={setAgent}
          busy={busy && !sessionId}
          onSend={onSend}
          onEditLast={onEditLast}
        />
      </div>
    </main>
  );
}

function TypingLine({ sessionId }: { sessionId: string }) {
  const { chat } = useWorld();
  const { t } = useWords();
  useTopic(`typing:${sessionId}`);
  const people = chat.typing.in(sessionId);
  if (!people.length) return <p className="typing" aria-live="polite" />;
  const names = people.map((user) => user.name || user.username).join(", ");
  return (
    <p className="typing" aria-live="polite">
      {t("typing", { names, count: people.length })}
    </p>
  );
}

function Skeleton() {
  const { t } = useWords();
  return (
    <div className="skeleton" role="status" aria-label={t("loading")}>
      <i className="right" />
      <i />
      <i className="short" />
    </div>
  );
}

function Problem({ title, text, onRetry, children }: { title: string; text: string; onRetry?: () => void; children?: ReactNode }) {
  const { t } = useWords();
  return (
    <div className="empty">
      <h2>{title}</h2>
      <p>{text}</p>
      <div className="buttons">
        {onRetry ? (
          <button type="button" className="primary" onClick={onRetry}>
            {t("again")}
          </button>
        ) : (
          <button type="button" className="primary" onClick={() => go(null)}>
            {t("session.new")}
          </button>
        )}
      </div>
      {children}
    </div>
  );
}
