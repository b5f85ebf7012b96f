import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { delayS, FIRST_DELAY_S, LONGEST_DELAY_S } from "../../src/client/backoff";
import { Connection, type ConnectionOptions } from "../../src/client/connection";
import { Offline, Refused } from "../../src/client/errors";
import { FakeServer } from "./server";

let server: FakeServer;
const said: string[] = [];

function connect(more: Partial<ConnectionOptions> = {}): Connection {
  const connection = new Connection({
    address: () => Promise.resolve("ws://chat/ws/"),
    openSocket: server.openSocket,
    onFrame: (frame) => said.push(frame.type),
    onReady: () => said.push("ready"),
    random: () => 1,
    ...more,
  });
  connection.start();
  return connection;
}

const soon = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  said.length = 0;
});
afterEach(() => vi.useRealTimers());

describe("waiting between tries", () => {
  it("doubles up to its ceiling and is spread out", () => {
    const ceilings = [1, 2, 3, 4, 5, 6, 7, 50].map((failures) => delayS(failures, null, () => 1));
    expect(ceilings.slice(0, 4)).toEqual([1, 2, 4, 8].map((factor) => factor * FIRST_DELAY_S));
    expect(Math.max(...ceilings)).toBe(LONGEST_DELAY_S);
    expect(delayS(5, null, () => 0)).toBe(0);
  });

  it("keeps to the time that the server named, and adds jitter", () => {
    expect(delayS(1, 10, () => 0)).toBe(10);
    expect(delayS(1, 10, () => 1)).toBe(15);
  });
});

describe("a connection", () => {
  it("is online with the first frame, and tells", async () => {
    const connection = connect();
    await soon();
    expect(connection.state.status).toBe("connecting");
    server.socket.hello();
    expect(connection.state.status).toBe("online");
    expect(said).toEqual(["ready"]);
  });

  it("comes back after a loss, later each time, and at once when asked to", async () => {
    const connection = connect();
    await soon();
    server.socket.lose();
    await soon();
    expect(connection.state.status).toBe("offline");
    await vi.advanceTimersByTimeAsync(499);
    expect(server.sockets.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(server.sockets.length).toBe(2);
    server.socket.lose();
    await vi.advanceTimersByTimeAsync(900);
    expect(server.sockets.length).toBe(2);
    connection.start();
    await soon();
    expect(server.sockets.length).toBe(3);
    server.socket.hello();
    await vi.advanceTimersByTimeAsync(5000);
    expect(server.sockets.length, "the planned try is void").toBe(3);
  });

  it("keeps to the time that a restarting server names", async () => {
    connect();
    await soon();
    server.socket.hello();
    server.socket.tell({ type: "error", ref: null, data: { code: "unavailable", message: "", temporary: true, retry_after_s: 4 } });
    server.socket.lose(4412);
    await vi.advanceTimersByTimeAsync(3999);
    expect(server.sockets.length).toBe(1);
    await vi.advanceTimersByTimeAsync(2001);
    expect(server.sockets.length).toBe(2);
  });

  it("pings when nothing comes, and leaves a server that does not answer", async () => {
    server.answer = (command, socket) => (command.type === "ping" && socket === server.sockets[0] ? undefined : socket.ok(command));
    const connection = connect();
    await soon();
    server.socket.hello(20);
    await vi.advanceTimersByTimeAsync(19_999);
    expect(server.socket.heard("ping").length).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(server.socket.heard("ping").length).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(connection.isReady).toBe(false);
    expect(server.sockets[0]!.closed).toBe(true);
    await vi.advanceTimersByTimeAsync(500);
    server.socket.hello(20);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(connection.isReady, "a pong is a sign of life").toBe(true);
  });

  it("stops where the origin is refused, and where nobody is signed in", async () => {
    const refused = connect();
    await soon();
    server.socket.lose(4403);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(refused.state.status).toBe("refused");
    const signedOut = connect({ stillSignedIn: () => Promise.resolve(false) });
    await soon();
    server.socket.lose(4401);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(signedOut.state.status).toBe("signed_out");
    expect(server.sockets.length).toBe(2);
  });

  it("tries again where only the socket's sign-in was out of date", async () => {
    const connection = connect({ stillSignedIn: () => Promise.resolve(true) });
    await soon();
    server.socket.hello();
    server.socket.lose(4401);
    await vi.advanceTimersByTimeAsync(600);
    server.socket.hello();
    expect(connection.state.status).toBe("online");
  });

  it("is over where the next socket is another person's, and stays so", async () => {
    const connection = connect({ stillSignedIn: () => Promise.resolve(true) });
    await soon();
    server.socket.hello(20, "ada");
    server.socket.lose(4401);
    await vi.advanceTimersByTimeAsync(600);
    server.socket.hello(20, "ben");
    expect(connection.state).toMatchObject({ status: "signed_out", nextTryAt: null });
    expect(connection.isReady).toBe(false);
    expect(server.socket.closed).toBe(true);
    connection.start();
    connection.check();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.sockets.length).toBe(2);
    expect(said).toEqual(["ready"]);
    expect(connection.user?.username).toBe("ada");
  });

  it("is over at once where the page was another person's", async () => {
    const connection = connect({ userId: "id of ada" });
    await soon();
    server.socket.hello(20, "ben");
    expect(connection.state.status).toBe("signed_out");
    expect(said).toEqual([]);
  });

  it("asks for an address at every try, and takes a refusal's time", async () => {
    const address = vi.fn().mockRejectedValueOnce(new Offline()).mockResolvedValue("ws://chat/ws/?ticket=2");
    connect({ address });
    await vi.advanceTimersByTimeAsync(600);
    expect(address).toHaveBeenCalledTimes(2);
    expect(server.socket.url).toContain("ticket=2");
  });

  it("answers each command once, and rejects what a lost socket leaves open", async () => {
    server.answer = () => undefined;
    const connection = connect();
    await soon();
    await expect(connection.ask("ping", {})).rejects.toBeInstanceOf(Offline);
    server.socket.hello();
    const [one, two] = [connection.ask("a.b", { x: 1 }), connection.ask("c.d", {})];
    const [first, second] = server.socket.commands;
    server.socket.ok(second!, { is: 2 });
    server.socket.refuse(first!, "busy");
    await expect(two).resolves.toEqual({ is: 2 });
    await expect(one).rejects.toBeInstanceOf(Refused);
    const lost = connection.ask("e.f", {});
    server.socket.lose();
    await expect(lost).rejects.toBeInstanceOf(Offline);
  });

  it("says nothing into a socket that is closing, and hears its code", async () => {
    const connection = connect();
    await soon();
    server.socket.hello();
    server.socket.readyState = 2;
    await expect(connection.ask("a.b", {})).rejects.toBeInstanceOf(Offline);
    expect(server.socket.commands).toEqual([]);
    server.socket.lose(4412);
    expect(connection.state).toMatchObject({ status: "offline", code: 4412 });
  });

  it("refuses a command at once that is larger than a frame may be: no answer would name it", async () => {
    const connection = connect();
    await soon();
    server.socket.hello();
    await expect(connection.ask("message.send", { content: "ü".repeat(70_000) })).rejects.toMatchObject({ code: "too_large", temporary: false });
    expect(server.socket.commands).toEqual([]);
    await connection.ask("message.send", { content: "u".repeat(70_000) });
    expect(server.socket.commands.length).toBe(1);
    connection.stop();
  });

  it("leaves a socket that answers pings and not a command", async () => {
    server.answer = (command, socket) => (command.type === "ping" ? socket.ok(command) : undefined);
    const connection = connect();
    await soon();
    server.socket.hello(5);
    const asked = connection.ask("a.b", {});
    const refused = expect(asked).rejects.toBeInstanceOf(Offline);
    await vi.advanceTimersByTimeAsync(19_999);
    expect(connection.isReady).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    await refused;
    expect(connection.isReady).toBe(false);
    expect(server.sockets[0]!.closed).toBe(true);
    await vi.advanceTimersByTimeAsync(500);
    expect(server.sockets.length).toBe(2);
  });

  it("hears nothing of a socket that it gave up", async () => {
    connect();
    await soon();
    const old = server.socket;
    old.hello();
    const late = old.onmessage!;
    old.lose();
    await vi.advanceTimersByTimeAsync(1000);
    late({ data: JSON.stringify({ type: "message.delta", session_id: "s", data: {} }) });
    expect(said).toEqual(["ready"]);
  });

  it("is silent after stop", async () => {
    const connection = connect();
    await soon();
    connection.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.sockets.length).toBe(1);
    expect(server.socket.closed).toBe(true);
  });
});
