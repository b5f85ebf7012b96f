// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "../../src/app/App";
import { Question } from "../../src/thread/Question";
import { Boundary, BrokenPart } from "../../src/ui/Boundary";
import { InboxPanel } from "../../src/panel/InboxPanel";
import { Stage } from "./draw";

vi.mock("../../src/thread/Question", () => ({ Question: vi.fn() }));

let stage: Stage;
const question = vi.mocked(Question);

function Part({ broken }: { broken: boolean }) {
  if (broken) throw new Error("broken on purpose");
  return <b>whole</b>;
}

beforeEach(() => {
  stage = new Stage();
  vi.spyOn(console, "error").mockImplementation(() => undefined); // where React tells what was caught
  question.mockImplementation(() => <b>asked</b>);
});
afterEach(async () => {
  await stage.leave();
  vi.restoreAllMocks();
});

describe("what cannot be drawn", () => {
  it("leaves the rest of the page alone, and is tried again once it is another one", async () => {
    const draw = (broken: boolean) =>
      stage.draw(
        <>
          <i>the rest</i>
          <Boundary broken={<BrokenPart />} of={broken}>
            <Part broken={broken} />
          </Boundary>
        </>,
      );
    await draw(true);
    expect(stage.element.textContent).toContain("the rest");
    expect(stage.element.textContent).toContain("This part could not be shown.");
    await draw(false);
    expect(stage.element.textContent).toContain("whole");
  });

  it("costs the inbox its own place alone", async () => {
    question.mockImplementation(({ interrupt }) => {
      if (interrupt.interrupt_id === "1") throw new Error("broken on purpose");
      return <b>asked</b>;
    });
    const row = { session_id: "s", type: "interrupt.created", status: "open", created_at: "2026" };
    stage.chat.inbox.rows = [{ ...row, interrupt_id: "1" }, { ...row, interrupt_id: "2" }] as never;
    await stage.draw(<InboxPanel onOpen={() => undefined} />);
    expect(stage.element.textContent).toContain("This part could not be shown.");
    expect(stage.element.textContent).toContain("asked");
  });

  it("is told in the reader's language with a way to go on, where it is the page itself", async () => {
    vi.spyOn(stage.chat.sessions, "find").mockImplementation(() => {
      throw new Error("broken on purpose");
    });
    Object.defineProperty(stage.chat.sessions, "state", { get: () => { throw new Error("broken on purpose"); } });
    await stage.draw(<App world={stage.world} language="zh" />);
    expect(stage.button("重新加载")).toBeDefined();
    expect(stage.find("h1").textContent).toBe("页面出错了");
  });
});
