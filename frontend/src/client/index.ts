/** The client of the chat server, for any page: no framework, no dependency. docs/page.md tells how to use it. */

export { Api, type ApiOptions, type MemberRow, type SessionChange, type SessionQuery } from "./api";
export { delayS } from "./backoff";
export { Chat, type ChatOptions } from "./client";
export { CLOSED, Connection, type ConnectionState, type SocketLike, type Status } from "./connection";
export { Offline, Refused } from "./errors";
export { Exact, parse, stringify, toNumber } from "./exact";
export { type Broken, type Change, type Draft, Talk } from "./fold";
export { Inbox } from "./inbox";
export { type Keeper, Outbox, storageKeeper, type Unsent } from "./outbox";
export { type ListState, SessionList } from "./sessions";
export { type Opened, Talks } from "./talks";
export { codePoints, newKey } from "./text";
export { TypingBoard } from "./typing";
export * from "./wire";
