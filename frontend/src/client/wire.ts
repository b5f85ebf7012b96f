/** The shapes of the wire, as docs/protocol.md tells them. Keys and types that are not known here are let through. */

import type { Exact } from "./exact";

export type Id = string;
export type Time = string;
export type Json = null | boolean | number | Exact | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface User {
  user_id: Id;
  username: string;
  name: string;
}

export interface Author {
  kind: "user" | "agent" | "system";
  name: string;
  title: string;
  avatar: string;
  color: string;
}

export type SessionStatus = "new" | "active" | "interrupted" | "waiting" | "completed" | "closed";
export type OnBusy = "queue" | "join" | "interrupt" | "rollback" | "reject";

export interface Session {
  session_id: Id;
  title: string;
  status: SessionStatus;
  agent: string;
  incident_id: Id | null;
  parent_id: Id | null;
  metadata: JsonObject;
  my_role: "owner" | "member" | "viewer" | null;
  last_seq: number;
  created_at: Time;
  updated_at: Time;
  on_busy: OnBusy;
}

export type ToolStatus =
  | "waiting"
  | "held"
  | "called"
  | "returned"
  | "failed"
  | "refused"
  | "skipped"
  | "unknown"
  | "cancelled";

export interface ToolCall {
  tool_call_id: string;
  tool: string;
  args: Json;
  status: ToolStatus;
  access?: string;
  result?: Json;
  error?: Json;
  duration_s?: number | null;
}

export interface MessageExtra {
  interrupted?: boolean;
  /** Why the language model did not come to its end: `length` or `refused`. */
  cut?: string;
  reasoning?: string;
  tool_call?: ToolCall;
  /** Of a notice that a question ran out of time: what to say to be asked again. */
  ask_again?: { content: string; agent?: string };
  /** It was said to a run under way, which reads it at its next step. */
  joined?: { run_id: Id; read: unknown };
  /** It was taken back before anybody began to answer it. */
  withdrawn?: boolean;
  [key: string]: unknown;
}

export interface Message {
  message_id: Id;
  session_id: Id;
  run_id: Id | null;
  parent_id: Id | null;
  key: string | null;
  role: "user" | "assistant" | "system" | "tool";
  author: Author;
  kind: string;
  category: string;
  content: string;
  data: MessageExtra;
  attachments: Json[];
  created_at: Time;
  updated_at: Time;
  deleted_at: Time | null;
}

export type RunStatus = "queued" | "running" | "interrupted" | "succeeded" | "failed" | "cancelled";

export interface RunError {
  code: string;
  message: string;
  temporary: boolean;
}

export interface Run {
  run_id: Id;
  session_id: Id;
  message_id: Id | null;
  /** The message that it answers; a retry answers one whose `run_id` is another run's. */
  question_id: Id;
  status: RunStatus;
  position: number;
  attempt: number;
  crashes: number;
  agent: string;
  llm: string;
  fallback_status: string | null;
  usage: { input_tokens: number; output_tokens: number; cost_usd: number };
  error: RunError | null;
  queued_at: Time;
  started_at: Time | null;
  interrupted_at: Time | null;
  succeeded_at: Time | null;
  failed_at: Time | null;
  cancelled_at: Time | null;
}

export type Answer =
  | { approved: true; args?: JsonObject }
  | { approved: false; reason?: string }
  | { text: string }
  | { choice: string };

export interface Interrupt {
  interrupt_id: Id;
  session_id: Id;
  run_id: Id;
  reason: "approval" | "question" | "choice";
  prompt: string;
  payload: JsonObject;
  answer_schema: JsonObject;
  status: "open" | "resolved" | "expired" | "withdrawn";
  answer: JsonObject | null;
  resolved_by: Id | null;
  expires_at: Time | null;
  created_at: Time;
}

export interface Agent {
  name: string;
  title: string;
  avatar: string;
  color: string;
  instructions?: string;
  llm?: string;
  mode?: string;
  enabled: boolean;
}

export interface Delta {
  message_id: Id;
  attempt: number;
  offset: number;
  text: string;
  role?: Message["role"];
  author?: Author;
  kind?: string;
}

export interface Snapshot extends Session {
  messages: Message[];
  runs: Run[];
  interrupts: Interrupt[];
}

export interface Frame {
  type: string;
  session_id: Id | null;
  run_id: Id | null;
  seq: number | null;
  at: Time | null;
  ref?: string | null;
  data: Record<string, unknown>;
}

export interface ErrorData {
  code: string;
  message: string;
  temporary: boolean;
  retry_after_s?: number;
  fields?: Record<string, string>;
}

export interface Page<Row> {
  results: Row[];
  next: string | null;
  previous: string | null;
}

/** What `message.send` and `POST …/messages/` take beside the content. */
export interface SendOptions {
  agent?: string;
  llm?: string;
  on_busy?: OnBusy;
  parent_id?: Id;
  context?: JsonObject;
}

export const OPEN_RUN: ReadonlySet<RunStatus> = new Set<RunStatus>(["queued", "running", "interrupted"]);
