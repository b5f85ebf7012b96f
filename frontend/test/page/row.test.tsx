// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Talk } from "../../src/client";
import { Row } from "../../src/thread/Row";
import { Stage } from "./draw";

let stage: Stage;

beforeEach(() => {
  vi.useFakeTimers();
  stage = new Stage();
});
afterEach(async () => {
  vi.useRealTimers();
  await stage.leave();
});

describe("a day's name", () => {
  it("is another one after midnight, though nothing else happened", async () => {
    const late = new Date(2026, 0, 10, 23, 59, 30);
    vi.setSystemTime(late);
    await stage.draw(<Row item={{ kind: "day", key: "d", at: late.toISOString() }} sessionId="s" talk={new Talk("s")} />);
    expect(stage.element.textContent).toContain("Today");
    await act(async () => vi.advanceTimersByTime(60_000));
    expect(stage.element.textContent).toContain("Yesterday");
  });
});
