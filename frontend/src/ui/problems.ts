/** What went wrong, in the reader's words: by the server's codes, since its texts are in its own language alone. */

import { useCallback } from "react";
import { Offline } from "../client";
import { type Key, useWords, type Words } from "../i18n";

/** The language that the server's own texts are in. Where it is the reader's too, the texts that say more are kept. */
const SERVER_SPEAKS = "en";

/** Of commands and requests, as docs/protocol.md names them. */
const REFUSALS: Record<string, Key> = {
  invalid_input: "error.invalid_input",
  not_authenticated: "connection.signed_out",
  forbidden_origin: "connection.refused",
  not_allowed: "error.not_allowed",
  not_found: "error.not_found",
  method_not_allowed: "error.internal",
  session_closed: "error.session_closed",
  busy: "error.busy",
  conflict: "error.conflict",
  already_resolved: "error.already_resolved",
  expired: "error.expired",
  too_old: "error.too_old",
  too_large: "error.too_large",
  rate_limited: "error.rate_limited",
  too_many_waiting: "error.too_many_waiting",
  too_many_connections: "error.too_many_connections",
  quota_exceeded: "error.quota_exceeded",
  internal: "error.internal",
  unavailable: "error.unavailable",
};
const SAYS_MORE = new Set(["invalid_input"]);

/** Of runs: why there is no answer. */
const FAILURES: Record<string, Key> = {
  llm_timeout: "failure.llm_timeout",
  llm_unavailable: "failure.llm_unavailable",
  llm_rejected: "failure.llm_rejected",
  llm_empty: "failure.llm_empty",
  worker_lost: "failure.worker_lost",
  run_too_long: "failure.run_too_long",
  internal: "failure.internal",
};

const keyOf = (catalogue: Record<string, Key>, code: string | undefined) =>
  code !== undefined && Object.hasOwn(catalogue, code) ? catalogue[code] : undefined;

export function useProblemText(): (problem: unknown) => string {
  const { language, t } = useWords();
  return useCallback(
    (problem: unknown) => {
      if (problem instanceof Offline) return t("error.offline");
      const { code, message } = (problem ?? {}) as { code?: string; message?: string };
      const key = keyOf(REFUSALS, code);
      if (code && message && (!key || (language === SERVER_SPEAKS && SAYS_MORE.has(code)))) return message;
      return t(key ?? "error.internal");
    },
    [language, t],
  );
}

/** Why a run failed; the server's own text where its code is not known here. */
export function failureText(error: unknown, told: string, { language, t }: Words): string {
  const key = keyOf(FAILURES, (error as { code?: string } | null | undefined)?.code);
  return key && language !== SERVER_SPEAKS ? t(key) : told;
}

const MAY_CALL = /^May ([\w.-]+) be called\?$/;

/** The tool of the server's own sentence, which it asks where a tool gave no words of its own. */
export function toolToCall(prompt: string): string | undefined {
  return MAY_CALL.exec(prompt)?.[1];
}

export function promptText(prompt: string, { t }: Words): string {
  const tool = toolToCall(prompt);
  return tool ? t("question.may_call", { tool }) : prompt;
}

/** The notice that nobody answered in time: a line of the server's, and what was asked, a line each. */
export function lateText(told: string, words: Words): string {
  const [, ...prompts] = told.split("\n");
  return [words.t("notice.late"), ...prompts.map((prompt) => promptText(prompt, words))].join("\n");
}
