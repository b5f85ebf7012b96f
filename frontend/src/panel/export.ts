/** A session as a file. */

import { type Message, type Session, stringify } from "../client";

export function asMarkdown(session: Session, messages: readonly Message[], tag: string): string {
  const time = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" });
  const parts = [`# ${session.title || session.session_id}\n`];
  for (const message of messages) {
    if (message.deleted_at) continue;
    const who = message.author.title || message.author.name || message.role;
    parts.push(`## ${who} · ${time.format(new Date(message.created_at))}\n`);
    const call = message.data.tool_call;
    if (call) parts.push(fenced(stringify({ tool: call.tool, args: call.args, status: call.status }, 2), "json"));
    if (message.content) parts.push(call ? fenced(message.content) : `${message.content.trim()}\n`);
  }
  return parts.join("\n");
}

/** A fence that is longer than any in the text. */
function fenced(text: string, language = ""): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text.trimEnd()}\n${fence}\n`;
}

export function asJson(session: Session, messages: readonly Message[]): string {
  return `${stringify({ session, messages }, 2)}\n`;
}

export function fileName(session: Session, ending: string): string {
  const name = session.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60);
  return `${name || session.session_id}.${ending}`;
}

export function save(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
