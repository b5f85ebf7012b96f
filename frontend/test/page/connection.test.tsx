// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConnectionBanner } from "../../src/app/Connection";
import { Stage } from "./draw";

let stage: Stage;

beforeEach(() => void (stage = new Stage()));
afterEach(async () => {
  vi.useRealTimers();
  await stage.leave();
});

describe("a connection that is lost", () => {
  it.each([
    [1006, "The connection was lost."],
    [4412, "The server is being restarted."],
    [4429, "You have too many tabs open here."],
  ])("by %d says why: %s", async (code, told) => {
    await stage.draw(<ConnectionBanner />);
    await stage.online();
    vi.useFakeTimers();
    await act(async () => stage.server.socket.lose(code));
    await act(async () => vi.advanceTimersByTime(1300));
    expect(stage.find("[role=status].banner").textContent).toContain(told);
  });
});

describe("a page of somebody who has left", () => {
  it("says that another person is signed in, and offers theirs", async () => {
    await stage.draw(<ConnectionBanner />);
    await stage.online();
    await act(async () => stage.server.socket.lose(4412));
    await act(async () => stage.chat.start());
    await act(async () => stage.server.socket.hello(20, "ben"));
    expect(stage.find("[role=alert].banner").textContent).toContain("Somebody else has signed in");
    expect(stage.button("Load again")).toBeTruthy();
  });
});
