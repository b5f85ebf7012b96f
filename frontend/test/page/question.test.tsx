// @vitest-environment jsdom
import { act } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Interrupt, parse } from "../../src/client";
import { parseObject } from "../../src/thread/ArgsEditor";
import { Question } from "../../src/thread/Question";
import { Stage } from "./draw";

let stage: Stage;

function asks(more: Partial<Interrupt>): Interrupt {
  return {
    interrupt_id: "i", session_id: "s", run_id: "r", reason: "approval", prompt: "May I?", payload: {}, answer_schema: {},
    status: "open", answer: null, resolved_by: null, expires_at: null, created_at: "2026", ...more,
  };
}

const approval = (args: object, schema: object = {}) =>
  asks({ payload: { tool: "refund", tool_call_id: "c", access: "write", args: args as never, args_schema: schema as never } });
const answers = () => stage.server.socket.heard("interrupt.resolve").map(({ data }) => data["answer"]);

beforeEach(async () => {
  stage = await new Stage().online();
});
afterEach(() => stage.leave());

describe("an approval", () => {
  it("is a yes to just what is shown", async () => {
    await stage.draw(<Question interrupt={approval({ order: "1001", amount: 5 })} />);
    expect(stage.element.textContent).toContain("refund");
    await stage.click("Approve");
    expect(answers()).toEqual([{ approved: true }]);
  });

  it("says once what is to be called, and what else it is asked with", async () => {
    await stage.draw(<Question interrupt={{ ...approval({}), prompt: "May refund be called?" }} />);
    expect(stage.element.textContent).not.toContain("May refund");
    await stage.draw(<Question interrupt={{ ...approval({}), prompt: "It is the third today." }} />);
    expect(stage.element.textContent).toContain("It is the third today.");
  });

  it("carries the arguments that were changed, in their own types", async () => {
    await stage.draw(<Question interrupt={approval({ order: "1001", amount: 5 })} />);
    await stage.type("input[type=number]", "7");
    await stage.click("Approve with changes");
    expect(answers()).toEqual([{ approved: true, args: { order: "1001", amount: 7 } }]);
  });

  it("takes no number that is none", async () => {
    await stage.draw(<Question interrupt={approval({ amount: 5 })} />);
    await stage.type("input[type=number]", "");
    expect(stage.find<HTMLButtonElement>("button.primary").disabled).toBe(true);
  });

  it("shows what is not plain as JSON, and takes only an object", async () => {
    await stage.draw(<Question interrupt={approval({ items: [1, 2] })} />);
    await stage.type("textarea.json", "[1]");
    expect(stage.find<HTMLButtonElement>("button.primary").disabled).toBe(true);
    await stage.type("textarea.json", '{"items": [3]}');
    await stage.click("Approve with changes");
    expect(answers()).toEqual([{ approved: true, args: { items: [3] } }]);
  });

  it("shows the signs that turn a text around, and approves the text as it was asked", async () => {
    const turned = approval({ to: "x\u202emoc.knab" });
    await stage.draw(<Question interrupt={turned} />);
    expect(stage.find<HTMLTextAreaElement>("textarea").value).toContain('"x\\u202emoc.knab"');
    await stage.click("Approve");
    await stage.type("textarea.json", '{"to": "y\\u202emoc.knab"}');
    await stage.click("Approve with changes");
    expect(answers()).toEqual([{ approved: true }, { approved: true, args: { to: "y\u202emoc.knab" } }]);
    await stage.draw(<Question interrupt={approval({ "\u202enwod": 1 })} />);
    expect(stage.element.textContent).not.toContain("\u202e");
  });

  it("shows and sends an integer of any length as it was asked, whatever else was changed", async () => {
    const frame = { type: "interrupt.opened", session_id: "s", run_id: "r", seq: null, at: null, data: approval({ id: 1, why: "spam", more: 2 }) };
    const text = JSON.stringify(frame).replace('"id":1', '"id":1234567890123456789').replace('"more":2', '"more":-99999999999999999999');
    await act(async () => stage.server.socket.onmessage?.({ data: text }));
    await stage.draw(<Question interrupt={stage.chat.inbox.rows[0]!} />);
    expect([...stage.element.querySelectorAll("input")].map((one) => one.value)).toEqual(["1234567890123456789", "-99999999999999999999"]);
    expect(stage.button("Approve").disabled).toBe(false);
    const sent = vi.spyOn(stage.server.socket, "send");
    await stage.type("textarea", "spam, twice");
    await stage.type("input", "1234567890123456780");
    await stage.click("Approve with changes");
    expect(sent.mock.calls[0]![0]).toContain('"args":{"id":1234567890123456780,"why":"spam, twice","more":-99999999999999999999}');
  });

  it("shows and takes an integer of any length in JSON, too", async () => {
    await stage.draw(<Question interrupt={approval(parse('{"ids": [1234567890123456789]}') as object)} />);
    expect(stage.find<HTMLTextAreaElement>("textarea").value).toContain("1234567890123456789");
    const sent = vi.spyOn(stage.server.socket, "send");
    await stage.type("textarea", '{"ids": [1234567890123456788]}');
    await stage.click("Approve with changes");
    expect(sent.mock.calls[0]![0]).toContain('"args":{"ids":[1234567890123456788]}');
  });

  it("is refused with a reason, or without", async () => {
    await stage.draw(<Question interrupt={approval({})} />);
    await stage.click("Refuse…");
    await stage.type("textarea", " Too much ");
    await stage.click("Refuse");
    expect(answers()).toEqual([{ approved: false, reason: "Too much" }]);
  });
});

describe("what was typed into a card", () => {
  const away = () => stage.draw(<p>Something else is in sight.</p>);

  it("is there again, and is what is approved, after the card was scrolled out of sight", async () => {
    const asked = approval({ order: "1001", amount: 100 });
    await stage.draw(<Question interrupt={asked} />);
    await stage.type("input[type=number]", "10");
    await away();
    await stage.draw(<Question interrupt={asked} />);
    expect(stage.find<HTMLInputElement>("input[type=number]").value).toBe("10");
    await stage.click("Approve with changes");
    expect(answers()).toEqual([{ approved: true, args: { order: "1001", amount: 10 } }]);
  });

  it("is there again as JSON, also while it cannot be read", async () => {
    const asked = approval({ items: [1] });
    await stage.draw(<Question interrupt={asked} />);
    await stage.type("textarea", '{"items": [');
    await away();
    await stage.draw(<Question interrupt={asked} />);
    expect(stage.find<HTMLTextAreaElement>("textarea").value).toBe('{"items": [');
    expect(stage.find<HTMLButtonElement>("button.primary").disabled).toBe(true);
  });

  it("is the same in the thread and in the inbox, and is of one question alone", async () => {
    const one = asks({ reason: "question" });
    await stage.draw(
      <>
        <Question interrupt={one} />
        <Question interrupt={one} compact />
        <Question interrupt={asks({ reason: "question", interrupt_id: "other" })} />
      </>,
    );
    await stage.type("textarea", "Green");
    expect([...stage.element.querySelectorAll("textarea")].map((field) => field.value)).toEqual(["Green", "Green", ""]);
  });

  it("stays, with the reason of a refusal, where the answer did not arrive", async () => {
    stage.server.answer = (command, socket) => socket.refuse(command, "unavailable", { temporary: true });
    const asked = approval({});
    await stage.draw(<Question interrupt={asked} />);
    await stage.click("Refuse…");
    await stage.type("textarea", "Too much");
    await stage.click("Refuse");
    await away();
    await stage.draw(<Question interrupt={asked} />);
    expect(stage.find<HTMLTextAreaElement>("textarea").value).toBe("Too much");
    stage.server.answer = (command, socket) => socket.ok(command);
    await stage.click("Refuse");
    expect(answers().at(-1)).toEqual({ approved: false, reason: "Too much" });
  });
});

describe("a question", () => {
  it("is answered with a text", async () => {
    await stage.draw(<Question interrupt={asks({ reason: "question", prompt: "Which colour?" })} />);
    expect(stage.button("Answer").disabled).toBe(true);
    await stage.type("textarea", "Green");
    await stage.click("Answer");
    expect(answers()).toEqual([{ text: "Green" }]);
  });

  it("is answered with one of its choices, as it was told", async () => {
    await stage.draw(<Question interrupt={asks({ reason: "choice", payload: { choices: ["Green", "Bl\u202eue"] } })} />);
    await stage.click("Blue");
    await stage.click("Green");
    expect(answers()).toEqual([{ choice: "Bl\u202eue" }, { choice: "Green" }]);
  });

  it("tells when somebody was faster", async () => {
    stage.server.answer = (command, socket) => socket.refuse(command, "already_resolved");
    await stage.draw(<Question interrupt={approval({})} />);
    await stage.click("Approve");
    expect(stage.find(".notices").textContent).toContain("Somebody has answered this already.");
  });

  it("counts down what is left of its time", async () => {
    vi.useFakeTimers();
    await stage.draw(<Question interrupt={asks({ expires_at: new Date(Date.now() + 65_000).toISOString() })} />);
    expect(stage.find("[role=timer]").textContent).toBe("1:05 left");
    await act(async () => vi.advanceTimersByTime(66_000));
    expect(stage.find("[role=timer]").textContent).toBe("expired");
    vi.useRealTimers();
  });
});

describe("JSON that is typed", () => {
  it.each(["", "null", "[1]", '"x"', "{", "1", "12345678901234567890"])("%j is no object", (text) => expect(parseObject(text)).toBeNull());
});
