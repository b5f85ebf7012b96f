/** A question that only a person can settle: yes or no to a tool, a text, or one of several choices. */

import { type FormEvent, useId, useState } from "react";
import { useNow, useTopic, useWorld } from "../app/context";
import { type Answer, type Interrupt, type JsonObject, stringify } from "../client";
import { useWords } from "../i18n";
import { Markdown } from "../markdown/Markdown";
import { countdown } from "../ui/format";
import { Icon } from "../ui/Icon";
import { useNotices } from "../ui/Notices";
import { promptText, toolToCall } from "../ui/problems";
import { straight } from "../ui/turning";
import { ArgsEditor, changedArgs } from "./ArgsEditor";
import { type Given, useGiven } from "./given";

export function Question({ interrupt, compact = false }: { interrupt: Interrupt; compact?: boolean }) {
  const { chat } = useWorld();
  const words = useWords();
  const { t } = words;
  const { attempt } = useNotices();
  const [busy, setBusy] = useState(false);
  useTopic("sessions");
  const mayAnswer = chat.sessions.row(interrupt.session_id)?.my_role !== "viewer";
  const [given, give] = useGiven(interrupt.interrupt_id);
  const answer = async (chosen: Answer) => {
    setBusy(true);
    await attempt(chat.resolve(interrupt.interrupt_id, chosen));
    setBusy(false);
  };
  const props = { interrupt, busy: busy || !mayAnswer, given, give, answer };
  return (
    <section className={compact ? "question compact" : "question"} data-interrupt-id={interrupt.interrupt_id} aria-label={t("question.asks")}>
      <header>
        <Icon name={interrupt.reason === "approval" ? "admin" : "question"} size={17} />
        <strong>{t(interrupt.reason === "approval" ? "question.approval" : "question.asks")}</strong>
        <Expiry at={interrupt.expires_at} />
      </header>
      {interrupt.prompt && !saysOnlyWhich(interrupt) ? <Markdown text={promptText(interrupt.prompt, words)} breaks /> : null}
      {interrupt.reason === "approval" ? <Approval {...props} /> : interrupt.reason === "choice" ? <Choices {...props} /> : <Text {...props} />}
      {mayAnswer ? null : <p className="hint">{t("question.viewer")}</p>}
    </section>
  );
}

/** Whether the words of an approval say no more than its card does. */
function saysOnlyWhich({ reason, prompt, payload }: Interrupt): boolean {
  const tool = toolToCall(prompt);
  return reason === "approval" && tool !== undefined && tool === payload["tool"];
}

interface PartProps {
  interrupt: Interrupt;
  busy: boolean;
  given: Given;
  give: (change: Given) => void;
  answer: (given: Answer) => Promise<void>;
}

function Expiry({ at }: { at: string | null }) {
  const { t } = useWords();
  const now = useNow(1000);
  if (!at) return null;
  const left = Date.parse(at) - now;
  return (
    <span className={left < 60_000 ? "expiry soon" : "expiry"} role="timer" aria-live="off">
      <Icon name="clock" size={13} />
      {left > 0 ? t("question.left", { time: countdown(left) }) : t("question.expired")}
    </span>
  );
}

function Approval({ interrupt, busy, given, give, answer }: PartProps) {
  const { t } = useWords();
  const tool = typeof interrupt.payload["tool"] === "string" ? interrupt.payload["tool"] : "";
  const access = typeof interrupt.payload["access"] === "string" ? interrupt.payload["access"] : "";
  const description = typeof interrupt.payload["description"] === "string" ? interrupt.payload["description"] : "";
  const asked = asObject(interrupt.payload["args"]);
  const args = changedArgs(asked, given);
  const { refusing = false, reason = "" } = given;
  const id = useId();
  const changed = args !== null && stringify(args) !== stringify(asked);
  const refuse = (event: FormEvent) => {
    event.preventDefault();
    void answer({ approved: false, ...(reason.trim() && { reason: reason.trim() }) });
  };
  return (
    <>
      {tool ? (
        <p className="tool-name">
          <Icon name="tool" size={15} />
          <code>{tool}</code>
          {access ? <small>{t(access === "write" ? "access.write" : "access.read")}</small> : null}
        </p>
      ) : null}
      {description ? <p className="hint">{straight(description)}</p> : null}
      <ArgsEditor args={asked} schema={asObject(interrupt.payload["args_schema"])} disabled={busy} given={given} onGive={give} />
      {refusing ? (
        <form onSubmit={refuse} className="refusal">
          <label htmlFor={id}>{t("question.why")}</label>
          <textarea id={id} value={reason} maxLength={2000} rows={2} autoFocus onChange={(event) => give({ reason: event.target.value })} />
          <div className="buttons">
            <button type="submit" className="danger" disabled={busy}>
              {t("question.refuse")}
            </button>
            <button type="button" onClick={() => give({ refusing: false })}>
              {t("cancel")}
            </button>
          </div>
        </form>
      ) : (
        <div className="buttons">
          <button
            type="button"
            className="primary"
            disabled={busy || args === null}
            onClick={() => void answer({ approved: true, ...(changed && args && { args }) })}
          >
            {changed ? t("question.approve_changed") : t("question.approve")}
          </button>
          <button type="button" disabled={busy} onClick={() => give({ refusing: true })}>
            {t("question.refuse")}…
          </button>
        </div>
      )}
    </>
  );
}

function Choices({ interrupt, busy, answer }: PartProps) {
  const choices = interrupt.payload["choices"] as string[];
  return (
    <div className="buttons stacked">
      {choices.map((choice) => (
        <button key={choice} type="button" disabled={busy} onClick={() => void answer({ choice })}>
          {straight(choice)}
        </button>
      ))}
    </div>
  );
}

function Text({ interrupt, busy, given, give, answer }: PartProps) {
  const { t } = useWords();
  const { text = "" } = given;
  const id = useId();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim()) void answer({ text });
      }}
    >
      <label htmlFor={id} className="off-screen">
        {interrupt.prompt || t("question.your_answer")}
      </label>
      <textarea id={id} rows={2} maxLength={10_000} value={text} placeholder={t("question.your_answer")} onChange={(event) => give({ text: event.target.value })} />
      <div className="buttons">
        <button type="submit" className="primary" disabled={busy || !text.trim()}>
          {t("question.answer")}
        </button>
      </div>
    </form>
  );
}

function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}
