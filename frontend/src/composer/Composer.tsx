/** Where one types: keeps drafts, completes names, sends with Enter (never in the middle of composing a character). */

import { type KeyboardEvent, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useAgents, useTopic, useWorld } from "../app/context";
import { choiceName, draftName, read, write } from "../app/store";
import type { OnBusy, Run, SendOptions, Session } from "../client";
import { useWords } from "../i18n";
import { Icon } from "../ui/Icon";
import { Menu } from "../ui/Menu";
import { useNotices } from "../ui/Notices";
import { Mentions, type Pick, useMentions } from "./Mentions";
import { AgentPicker, LlmPicker } from "./Pickers";

interface Props {
  sessionId: string | null;
  session: Session | null;
  running: Run | undefined;
  /** Who is asked to answer a session that is not there yet; "" for whom the server chooses. */
  agent: string;
  onAgent: (agent: string) => void;
  /** A new session is under way: its message stays in sight, and cannot be sent twice. */
  busy: boolean;
  /** Resolves to false where the text must stay. */
  onSend: (content: string, options: SendOptions) => Promise<boolean>;
  onEditLast: () => void;
}

const TYPING_EVERY_MS = 3000;
export const BUSY: readonly OnBusy[] = ["queue", "join", "interrupt", "rollback"];

/** Enter that ends the composing of a character is no Enter; Safari says so by the old key code alone. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.nativeEvent.isComposing || event.keyCode === 229;
}

export function Composer({ sessionId, session, running, agent, onAgent, busy, onSend, onEditLast }: Props) {
  const { boot, chat, userId } = useWorld();
  const { t } = useWords();
  const { attempt } = useNotices();
  useTopic("connection");
  const agents = useAgents();
  const name = draftName(userId, sessionId);
  const [text, setText] = useState(() => read(name) ?? "");
  const [llm, setLlm] = useState(() => read(choiceName(userId, `llm.${sessionId ?? "new"}`)) ?? "");
  const area = useRef<HTMLTextAreaElement>(null);
  const typedAt = useRef(0);
  const mentions = useMentions(text, area, agents);
  const chosen = session?.agent ?? (agent || boot.default_agent);
  const closed = session?.status === "closed" || session?.my_role === "viewer";
  const tooLong = [...text].length > boot.max_content;

  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 240)}px`;
  }, [text]);

  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) area.current?.focus();
  }, [sessionId]);

  const tellTyping = useCallback(
    (active: boolean) => {
      if (!sessionId || !chat.connection.isReady) return;
      const now = Date.now();
      if (active ? now - typedAt.current < TYPING_EVERY_MS : !typedAt.current) return;
      typedAt.current = active ? now : 0;
      chat.connection.tell("typing", { session_id: sessionId, active });
    },
    [chat, sessionId],
  );

  /** At once in the browser's memory too: whoever types and leaves has typed it. */
  const change = (value: string) => {
    setText(value);
    write(name, value);
  };

  const type = (value: string) => {
    change(value);
    tellTyping(value.trim() !== "");
  };

  const pick = (chosenOne: Pick) => {
    change(chosenOne.text);
    requestAnimationFrame(() => area.current?.setSelectionRange(chosenOne.caret, chosenOne.caret));
  };

  const send = async (onBusy?: OnBusy) => {
    const content = text.trim();
    if (!content || tooLong || busy || closed) return;
    tellTyping(false);
    const options: SendOptions = { ...(llm && { llm }), ...(onBusy && { on_busy: onBusy }) };
    if (await onSend(content, options)) change("");
  };

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (isComposing(event)) return;
    if (mentions.onKeyDown(event, pick)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      void send();
    } else if (event.key === "ArrowUp" && !text) {
      event.preventDefault();
      onEditLast();
    }
  };

  const chooseLlm = (value: string) => {
    setLlm(value);
    write(choiceName(userId, `llm.${sessionId ?? "new"}`), value);
  };

  const chooseAgent = (value: string) => {
    if (sessionId) void attempt(chat.changeSession(sessionId, { agent: value }));
    else onAgent(value);
  };

  const modes = running ? BUSY : [];
  const placeholder = closed
    ? t(session?.my_role === "viewer" ? "composer.viewer" : "composer.closed")
    : t(running ? "composer.next" : "composer.placeholder");
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <Mentions state={mentions} onPick={pick} />
      <textarea
        ref={area}
        id="composer"
        rows={1}
        value={text}
        disabled={closed}
        readOnly={busy}
        placeholder={placeholder}
        aria-label={t("composer.label")}
        aria-controls={mentions.open ? mentions.id : undefined}
        aria-activedescendant={mentions.open ? `${mentions.id}-${mentions.at}` : undefined}
        aria-autocomplete="list"
        onChange={(event) => {
          type(event.target.value);
          mentions.look();
        }}
        onKeyDown={onKeyDown}
        onSelect={mentions.look}
        onBlur={() => {
          tellTyping(false);
          mentions.close();
        }}
      />
      <div className="tools">
        <AgentPicker agents={agents} value={chosen} onChoose={chooseAgent} disabled={closed || busy} />
        <LlmPicker value={llm} onChoose={chooseLlm} disabled={closed || busy} />
        <span className="space" />
        {text.length > boot.max_content * 0.8 ? (
          <small className={tooLong ? "count problem" : "count"}>
            {[...text].length} / {boot.max_content}
          </small>
        ) : null}
        {session?.status === "closed" && session.my_role !== "viewer" ? (
          <button type="button" className="small" onClick={() => void attempt(chat.archive(session.session_id, false))}>
            {t("session.unarchive")}
          </button>
        ) : null}
        {running ? (
          <button
            type="button"
            className="round stop"
            disabled={chat.isStopping(running.run_id)}
            onClick={() => chat.cancel(running.run_id)}
            aria-label={t("stop")}
            title={`${t("stop")} (Esc)`}
          >
            <Icon name="stop" />
          </button>
        ) : null}
        {modes.length > 0 && text.trim() ? (
          <Menu
            label={t("busy.how")}
            button={<Icon name="chevron" />}
            side="up"
            choices={modes.map((mode) => ({
              key: mode,
              label: t(`busy.${mode}` as "busy.queue"),
              hint: t(`busy.${mode}.hint` as "busy.queue.hint"),
              onChoose: () => void send(mode),
            }))}
          />
        ) : null}
        <button type="submit" className="round send" disabled={!text.trim() || tooLong || busy || closed} aria-label={t("send")} title={t("send")}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}
