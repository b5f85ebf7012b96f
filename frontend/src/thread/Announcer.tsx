/** Tells those who listen instead of look: that an answer is being written, and the answer once it is whole. */

import { useEffect, useRef, useState } from "react";
import type { Talk } from "../client";
import { useWords } from "../i18n";
import { promptText } from "../ui/problems";
import { straight } from "../ui/turning";
import { contentOf } from "./Notice";

const TOLD = 600; // characters; the rest is in the thread

export function Announcer({ talk, version }: { talk: Talk; version: number }) {
  const words = useWords();
  const [text, setText] = useState("");
  const seen = useRef<{ talk: Talk; seq: number; writing: boolean } | null>(null);
  useEffect(() => {
    const before = seen.current;
    const running = talk.openRuns().some((run) => run.status === "running");
    seen.current = { talk, seq: talk.lastSeq, writing: running };
    if (!before || before.talk !== talk) return; // what is there already is to be read, not told
    const newest = [...talk.messages.values()].at(-1);
    const asks = talk.openInterrupts().at(-1);
    if (before.writing && !running && newest && newest.role !== "user") {
      setText(`${newest.author.title || newest.author.name}: ${contentOf(newest, words).slice(0, TOLD)}`);
    } else if (!before.writing && running) setText(words.t("answer.writing"));
    else if (asks && !running) setText(`${words.t("question.asks")} ${promptText(asks.prompt, words)}`);
  }, [talk, version, words]);
  return (
    <div className="off-screen" role="status" aria-live="polite">
      {straight(text)}
    </div>
  );
}
