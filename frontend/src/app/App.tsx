/** The page: the list on the left, the talk in the middle, a panel on the right where one wants it. */

import { useEffect, useMemo, useRef, useState } from "react";
import { type Agent } from "../client";
import { type Language, useWords, wordsOf, WordsContext } from "../i18n";
import { InboxPanel } from "../panel/InboxPanel";
import { Panel } from "../panel/Panel";
import { SessionPanel } from "../panel/SessionPanel";
import { Sidebar } from "../sidebar/Sidebar";
import { Boundary, BrokenPage } from "../ui/Boundary";
import { LIST_LIES_OVER, useTakesFocus } from "../ui/focus";
import { Icon } from "../ui/Icon";
import { Notices } from "../ui/Notices";
import { straight } from "../ui/turning";
import { ConnectionBanner, ConnectionSign } from "./Connection";
import { AgentsContext, useOpened, useTopic, useWorld, type World, WorldContext } from "./context";
import { go, useSessionId } from "./route";
import { Help, useShortcuts } from "./Shortcuts";
import { setCookie } from "./boot";
import { TalkPage } from "./TalkPage";
import { UserMenu } from "./UserMenu";

type Side = "none" | "inbox" | "session";

const LOOK_EVERY_MS = 20_000; // for sessions and questions that no subscription tells of

export function App({ world, language: first }: { world: World; language: Language }) {
  const [language, setLanguage] = useState(first);
  const words = useMemo(() => wordsOf(language), [language]);
  useEffect(() => {
    document.documentElement.lang = words.tag;
  }, [words]);
  const choose = (chosen: Language) => {
    setCookie(world.boot.language_cookie, chosen);
    setLanguage(chosen);
  };
  return (
    <WorldContext.Provider value={world}>
      <WordsContext.Provider value={words}>
        <Boundary broken={<BrokenPage />}>
          <Notices>
            <Page onLanguage={choose} />
          </Notices>
        </Boundary>
      </WordsContext.Provider>
    </WorldContext.Provider>
  );
}

function useLife(): readonly Agent[] {
  const { chat } = useWorld();
  const [agents, setAgents] = useState<readonly Agent[]>([]);
  useEffect(() => {
    chat.start();
    const askAgents = () => chat.api.all(chat.api.agents()).then(setAgents, () => undefined);
    void askAgents();
    const look = () => {
      if (document.hidden) return;
      chat.connection.check();
      void chat.sessions.refresh();
      void chat.inbox.refresh();
    };
    const online = () => {
      chat.connection.check();
      void askAgents();
    };
    const timer = setInterval(look, LOOK_EVERY_MS);
    document.addEventListener("visibilitychange", look);
    addEventListener("online", online);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      removeEventListener("online", online);
      chat.stop();
    };
  }, [chat]);
  return agents;
}

function Page({ onLanguage }: { onLanguage: (language: Language) => void }) {
  const { chat } = useWorld();
  const { t } = useWords();
  const agents = useLife();
  const sessionId = useSessionId();
  const opened = useOpened(sessionId);
  const [listed, setListed] = useState(false); // on a phone the list is behind a button
  const [side, setSide] = useState<Side>("none");
  const [help, setHelp] = useState(false);
  const list = useRef<HTMLDivElement>(null);
  useTakesFocus(list, listed, LIST_LIES_OVER);
  useTopic("sessions");
  useTopic("inbox");
  const asks = chat.inbox.rows.length;
  const session = opened?.talk.session ?? (sessionId ? chat.sessions.row(sessionId) : undefined) ?? null;
  const panel = side === "inbox" || (side === "session" && opened !== undefined && session !== null);
  const gone = opened?.status === "missing";
  const title = gone ? t("app") : session ? straight(session.title) || t("session.untitled") : t("session.new");

  useEffect(() => {
    document.title = `${asks ? `(${asks}) ` : ""}${sessionId ? title : t("app")}`;
  }, [asks, title, sessionId, t]);

  const open = (id: string | null) => {
    setListed(false);
    go(id);
  };

  const actions = useMemo(
    () => ({
      compose: () => document.getElementById("composer")?.focus(),
      search: () => {
        setListed(matchMedia(LIST_LIES_OVER).matches);
        requestAnimationFrame(() => document.getElementById("search")?.focus());
      },
      fresh: () => {
        go(null);
        requestAnimationFrame(() => document.getElementById("composer")?.focus());
      },
      step: (by: number) => {
        const { rows } = chat.sessions.state;
        const at = rows.findIndex((row) => row.session_id === sessionId);
        const to = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
        if (to) go(to.session_id);
      },
      inbox: () => setSide((now) => (now === "inbox" ? "none" : "inbox")),
      help: () => setHelp(true),
      escape: (mayStop: boolean) => {
        if (listed) return setListed(false), true;
        if (panel) return setSide("none"), true;
        if (!mayStop) return false;
        const run = sessionId && chat.opened.get(sessionId)?.talk.openRuns().find((one) => one.status === "running");
        if (!run) return false;
        chat.cancel(run.run_id);
        return true;
      },
    }),
    [chat, sessionId, listed, panel],
  );
  useShortcuts(actions);
  const toggle = (which: Side) => setSide(side === which ? "none" : which);

  return (
    <AgentsContext.Provider value={agents}>
      {gone ? null : (
        <a className="skip" href="#composer">
          {t("skip")}
        </a>
      )}
      <div className="page" data-listed={listed} data-side={side}>
        <div className="left" ref={list} tabIndex={-1}>
          <Sidebar current={sessionId} onOpen={open} />
          <section className="left-foot" aria-label={t("you")}>
            <UserMenu onLanguage={onLanguage} onHelp={() => setHelp(true)} />
            <ConnectionSign />
          </section>
        </div>
        {listed ? <button type="button" className="shade" aria-label={t("close")} onClick={() => setListed(false)} /> : null}
        <div className="middle">
          <header className="top">
            <button type="button" className="quiet icon-only to-list" aria-label={t("sessions")} aria-expanded={listed} onClick={() => setListed(true)}>
              <Icon name="menu" />
            </button>
            <h1 title={title}>{title}</h1>
            <button type="button" className="quiet icon-only" aria-pressed={side === "inbox"} aria-label={asks ? t("inbox.count", { count: asks }) : t("inbox")} title={t("inbox")} onClick={() => toggle("inbox")}>
              <Icon name="inbox" />
              {asks ? <span className="badge">{asks > 99 ? "99+" : asks}</span> : null}
            </button>
            {session && !gone ? (
              <button type="button" className="quiet icon-only" aria-pressed={side === "session"} aria-label={t("about")} title={t("about")} onClick={() => toggle("session")}>
                <Icon name="info" />
              </button>
            ) : null}
          </header>
          <ConnectionBanner />
          <TalkPage sessionId={sessionId} />
        </div>
        {side === "inbox" ? (
          <Panel title={t("inbox")} onClose={() => setSide("none")}>
            <InboxPanel onOpen={open} />
          </Panel>
        ) : null}
        {side === "session" && opened && session ? (
          <Panel title={t("about")} onClose={() => setSide("none")}>
            <SessionPanel opened={opened} session={session} />
          </Panel>
        ) : null}
      </div>
      {help ? <Help onClose={() => setHelp(false)} /> : null}
    </AgentsContext.Provider>
  );
}
