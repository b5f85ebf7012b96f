/** What a real server once sent (tests/recordings), which the tests' own fold in Python is held to as well. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Talk } from "../src/client/fold";
import type { Frame, Snapshot } from "../src/client/wire";

const FOLDER = join(import.meta.dirname, "../../tests/recordings");

export interface Recording {
  session_id: string;
  snapshot: Snapshot | null;
  resumed: number[];
  shown: Record<string, Record<string, string>>;
  state: Snapshot;
}

export const NAMES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".jsonl"))
  .map((name) => name.replace(".jsonl", ""));

export function load(name: string): { frames: Frame[]; recording: Recording } {
  const lines = readFileSync(join(FOLDER, `${name}.jsonl`), "utf8").trim().split("\n");
  const recording = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as Recording;
  return { frames: lines.map((line) => JSON.parse(line) as Frame), recording };
}

export function begin(recording: Recording): Talk {
  return recording.snapshot ? Talk.of(recording.snapshot) : new Talk(recording.session_id);
}

export function draftsOf(talk: Talk): Record<string, string> {
  // A draft that only thinks has no text of its own yet.
  const said = [...talk.drafts.values()].filter((draft) => draft.text);
  return Object.fromEntries(said.map((draft) => [draft.message_id, draft.text]));
}
