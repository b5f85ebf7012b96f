import { describe, expect, it } from "vitest";
import { client, server, soon } from "./chatting";

describe("requests", () => {
  it("carry the CSRF token with the cookie, and a bearer's token without", async () => {
    await client({ csrf: () => "crumb" }).api.createSession();
    expect(server.requests[0]!.headers["X-CSRFToken"]).toBe("crumb");
    await client({ token: () => "jwt", csrf: () => "crumb" }).api.createSession();
    expect(server.requests[1]!.headers["Authorization"]).toBe("Bearer jwt");
    expect(server.requests[1]!.headers["X-CSRFToken"]).toBeUndefined();
  });

  it("open the socket by a ticket where there is no cookie", async () => {
    server.pages["POST /api/ws-tickets/"] = { ticket: "t&1" };
    const chat = client({ token: () => "jwt", socket: "ticket" });
    chat.start();
    await soon();
    expect(server.socket.url).toBe("ws://chat/ws/?ticket=t%261");
  });

  it("are told apart: refused with a code, or offline", async () => {
    server.pages["GET /api/me/"] = new Response("<h1>Bad gateway</h1>", { status: 502 });
    await expect(client().api.me()).rejects.toMatchObject({ code: "unavailable", temporary: true });
    server.online = false;
    await expect(client().api.me()).rejects.toMatchObject({ name: "Offline" });
  });
});
