// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { go, useSessionId } from "../../src/app/route";
import { TalkPage } from "../../src/app/TalkPage";
import { Refused, type Session } from "../../src/client";
import { Stage } from "./draw";

const MADE = "26efacf8-a2dc-47c7-af7f-4587cc48ccc2";
const ELSEWHERE = "36efacf8-a2dc-47c7-af7f-4587cc48ccc2";
const FIELD = "#composer";
let stage: Stage;
let answer: { resolve: (session: Session) => void; reject: (problem: unknown) => void };
let asked: MockInstance<Stage["chat"]["api"]["createSession"]>;

globalThis.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};

function Page() {
  return <TalkPage sessionId={useSessionId()} />;
}

const made = () => act(async () => answer.resolve({ session_id: MADE, title: "", status: "new", agent: "assistant", my_role: "owner" } as Session));
const refused = () => act(async () => answer.reject(new Refused({ code: "unavailable", message: "away", temporary: true })));
const said = () => stage.chat.outbox.items.map(({ session_id, content, options }) => ({ session_id, content, options }));
const text = () => stage.find<HTMLTextAreaElement>(FIELD).value;
const suggestion = () => stage.element.querySelector<HTMLButtonElement>(".suggestions button")!;

beforeEach(async () => {
  localStorage.clear();
  go(null);
  stage = new Stage();
  stage.world.boot.llms = ["demo", "other"];
  asked = vi.spyOn(stage.chat.api, "createSession").mockImplementation(
    () => new Promise((resolve, reject) => (answer = { resolve, reject })),
  );
  await stage.draw(<Page />);
});
afterEach(() => stage.leave());

describe("the first message of a new chat", () => {
  it("is there once, however often one clicks, and leads into its chat", async () => {
    await act(async () => {
      suggestion().click();
      suggestion().click();
    });
    expect(suggestion().disabled).toBe(true);
    await stage.press(FIELD, "Enter");
    await made();
    expect(asked).toHaveBeenCalledOnce();
    expect(said()).toEqual([{ session_id: MADE, content: "What can you do?", options: {} }]);
    expect(location.pathname).toBe(`/c/${MADE}/`);
  });

  it("stays in sight until it is taken, and is then no draft any more", async () => {
    await stage.type(FIELD, "Hello");
    await stage.press(FIELD, "Enter");
    expect(text()).toBe("Hello");
    expect(stage.find<HTMLTextAreaElement>(FIELD).readOnly).toBe(true);
    await stage.press(FIELD, "Enter");
    await made();
    expect(said()).toEqual([{ session_id: MADE, content: "Hello", options: {} }]);
    expect(text()).toBe("");
    await act(async () => go(null));
    expect(text()).toBe("");
  });

  it("is not lost where one went elsewhere and it was refused", async () => {
    await stage.type(FIELD, "Hello");
    await stage.press(FIELD, "Enter");
    await act(async () => go(ELSEWHERE));
    await refused();
    expect(stage.find(".notices").textContent).toContain("The server is not available.");
    await act(async () => go(null));
    expect(text()).toBe("Hello");
    expect(stage.find<HTMLTextAreaElement>(FIELD).readOnly).toBe(false);
  });

  it("is sent without dragging along whoever went elsewhere", async () => {
    await stage.type(FIELD, "Hello");
    await stage.press(FIELD, "Enter");
    await act(async () => go(ELSEWHERE));
    await made();
    expect(location.pathname).toBe(`/c/${ELSEWHERE}/`);
    expect(said().map(({ content }) => content)).toEqual(["Hello"]);
    await act(async () => go(null));
    expect(text()).toBe("");
  });

  it("is answered by whom the server chooses, who is shown, where nobody was chosen", async () => {
    expect(stage.button("Agent: assistant")).toBeDefined();
    await stage.type(FIELD, "Hello");
    await stage.press(FIELD, "Enter");
    expect(asked).toHaveBeenCalledExactlyOnceWith({});
  });

  it("goes to the agent and the model that were chosen, a suggestion as well", async () => {
    await stage.click("Agent: assistant");
    const choose = (name: string) =>
      act(async () => [...stage.element.querySelectorAll<HTMLElement>("[role=menuitemradio]")].find((one) => one.textContent!.includes(name))!.click());
    await choose("support");
    await stage.click("Model: Standard model");
    await choose("other");
    await act(async () => suggestion().click());
    await made();
    expect(asked).toHaveBeenCalledExactlyOnceWith({ agent: "support" });
    expect(said()[0]!.options).toEqual({ llm: "other" });
  });
});
