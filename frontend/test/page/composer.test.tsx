// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Composer } from "../../src/composer/Composer";
import { mentionAt } from "../../src/composer/Mentions";
import type { Run, Session } from "../../src/client";
import { AGENTS, Stage } from "./draw";

const SESSION = { session_id: "s", status: "waiting", agent: "assistant", my_role: "owner" } as Session;
const RUN = { run_id: "r", status: "running" } as Run;
const FIELD = "textarea";
let stage: Stage;
const onSend = vi.fn(async () => true);
const onEditLast = vi.fn();

async function composer(session: Session | null = SESSION, running?: Run): Promise<Stage> {
  return stage.draw(
    <Composer sessionId={session?.session_id ?? null} session={session} running={running} agent="" onAgent={() => undefined} busy={false} onSend={onSend} onEditLast={onEditLast} />,
  );
}

beforeEach(() => {
  localStorage.clear();
  onSend.mockClear().mockResolvedValue(true);
  onEditLast.mockClear();
  stage = new Stage();
});
afterEach(() => stage.leave());

describe("Enter", () => {
  it("sends, and leaves an empty field", async () => {
    await composer();
    await stage.type(FIELD, "  Hello  ");
    await stage.press(FIELD, "Enter");
    expect(onSend).toHaveBeenCalledExactlyOnceWith("Hello", {});
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("");
  });

  it.each([
    ["while a character is composed", { isComposing: true }],
    ["that ends the composing, as Safari tells it", { keyCode: 229 }],
    ["with Shift", { shiftKey: true }],
  ])("does not send %s", async (_, more) => {
    await composer();
    await stage.type(FIELD, "你hao");
    expect(await stage.press(FIELD, "Enter", more)).toBe(false);
    expect(onSend).not.toHaveBeenCalled();
    await stage.press(FIELD, "Enter");
    expect(onSend).toHaveBeenCalledOnce();
  });

  it("sends nothing that is blank or too long, and nothing into an archived chat", async () => {
    await composer();
    for (const text of ["", "   ", "x".repeat(10_001)]) {
      await stage.type(FIELD, text);
      await stage.press(FIELD, "Enter");
    }
    await composer({ ...SESSION, status: "closed" });
    expect(stage.find<HTMLTextAreaElement>(FIELD).disabled).toBe(true);
    expect(onSend).not.toHaveBeenCalled();
  });

  it("counts characters as the server does", async () => {
    await composer();
    await stage.type(FIELD, "😀".repeat(10_000));
    await stage.press(FIELD, "Enter");
    expect(onSend).toHaveBeenCalledOnce();
  });

  it("keeps the text where it could not be taken", async () => {
    onSend.mockResolvedValue(false);
    await composer();
    await stage.type(FIELD, "Stay");
    await stage.press(FIELD, "Enter");
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("Stay");
  });
});

describe("an archived chat", () => {
  it("can be brought back from where one would write", async () => {
    await composer({ ...SESSION, status: "closed" });
    await stage.click("Bring back");
    expect(stage.server.requests.map(({ method, path }) => `${method} ${path}`)).toContain("POST http://chat/api/sessions/s/reopen/");
  });
});

describe("a draft", () => {
  it("is there again, in its own chat alone, however soon one left", async () => {
    await composer();
    await stage.type(FIELD, "Half a thought");
    await stage.leave();
    stage = new Stage();
    await composer();
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("Half a thought");
    await stage.leave();
    stage = new Stage();
    await composer({ ...SESSION, session_id: "other" });
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("");
  });
});

describe("while an answer is written", () => {
  it("it can be stopped, and what comes next can be sent", async () => {
    await composer(SESSION, RUN);
    await stage.online();
    await stage.click("Stop");
    expect(stage.server.socket.heard("run.cancel").map(({ data }) => data)).toEqual([{ run_id: "r" }]);
    await stage.type(FIELD, "Next");
    await stage.press(FIELD, "Enter");
    expect(onSend).toHaveBeenCalledOnce();
  });

  it("one can choose how to send", async () => {
    await composer(SESSION, RUN);
    await stage.type(FIELD, "Now!");
    await stage.click("How to send it");
    const join = [...stage.element.querySelectorAll<HTMLElement>("[role=menuitem]")].find((one) => one.textContent!.startsWith("Join in"))!;
    await stage.press("[role=menu]", "ArrowDown");
    await act(async () => join.click());
    expect(onSend).toHaveBeenCalledExactlyOnceWith("Now!", { on_busy: "join" });
  });

  it("an arrow up in an empty field edits what waits last", async () => {
    await composer(SESSION, RUN);
    await stage.press(FIELD, "ArrowUp");
    expect(onEditLast).toHaveBeenCalledOnce();
    await stage.type(FIELD, "text");
    await stage.press(FIELD, "ArrowUp");
    expect(onEditLast).toHaveBeenCalledOnce();
  });
});

describe("typing", () => {
  it("is told once in a while, and that it is over", async () => {
    await composer();
    await stage.online();
    for (const text of ["a", "ab", "abc"]) await stage.type(FIELD, text);
    await stage.press(FIELD, "Enter");
    expect(stage.server.socket.heard("typing").map(({ data }) => data["active"])).toEqual([true, false]);
  });
});

describe("@", () => {
  it.each([
    ["@su", 3, "su"], ["hi @", 4, ""], ["hi\n@a b", 5, "a"], ["mail@x", 6, null], ["@a b", 4, null], ["(@a", 3, "a"],
    ["请@支", 3, "支"], ["请@support", 9, "support"], ["＠客", 2, "客"], ["好，＠", 3, ""], ["かな@s", 4, "s"], ["é@s", 3, null],
    ["1@s", 3, null], ["x/@s", 4, null], ["`@s", 3, null], ["@@s", 3, null], ["@s.o", 4, null],
  ])("%j at %d begins %j", (text, caret, begun) => {
    expect(mentionAt(text as string, caret as number)?.begun ?? null).toBe(begun);
  });

  it("offers agents that can be asked, and puts in the one that is chosen", async () => {
    await composer();
    await stage.type(FIELD, "@");
    expect([...stage.element.querySelectorAll("[role=option]")].map((one) => one.textContent)).toEqual(["@assistantassistant", "@supportsupport"]);
    await stage.press(FIELD, "ArrowDown");
    expect(await stage.press(FIELD, "Enter")).toBe(true);
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("@support ");
    expect(onSend).not.toHaveBeenCalled();
  });

  it("puts a name that the server reads into a sentence of Chinese", async () => {
    await composer();
    await stage.type(FIELD, "请＠sup");
    await stage.press(FIELD, "Tab");
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("请@support ");
  });

  it("finds an agent by its title in Chinese", async () => {
    AGENTS[1]!.title = "客户支持";
    await composer();
    await stage.type(FIELD, "请@客户");
    expect([...stage.element.querySelectorAll("[role=option]")].map((one) => one.textContent)).toEqual([expect.stringContaining("@support")]);
    AGENTS[1]!.title = "support";
  });

  it("leaves off with Escape", async () => {
    await composer();
    await stage.type(FIELD, "@s");
    await stage.press(FIELD, "Escape");
    expect(stage.element.querySelector("[role=listbox]")).toBeNull();
  });
});
