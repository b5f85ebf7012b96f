// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Message, MessageExtra } from "../../src/client";
import { Answer } from "../../src/thread/Answer";
import type { Item } from "../../src/thread/items";
import { Stage } from "./draw";

let stage: Stage;

function answer(data: MessageExtra) {
  const message = { message_id: "a", role: "assistant", author: { name: "assistant" }, content: "First,", data } as unknown as Message;
  const item = { kind: "answer", key: "a", messageId: "a", runId: "r", message, first: false } as Extract<Item, { kind: "answer" }>;
  return <Answer item={item} sessionId="s" thoughts={undefined} />;
}

beforeEach(async () => {
  stage = await new Stage().online();
});
afterEach(() => stage.leave());

describe("an answer that is not whole", () => {
  it.each([
    [{ interrupted: true }, "Stopped here"],
    [{ cut: "length" }, "The answer became too long and ends here"],
    [{ cut: "refused" }, "The language model would not go on"],
  ])("says why: %o", async (data, said) => {
    await stage.draw(answer(data));
    expect(stage.find(".cut").textContent).toBe(said);
  });

  it("says so in Chinese, too", async () => {
    await stage.draw(answer({ cut: "length" }), "zh");
    expect(stage.find(".cut").textContent).toBe("回答过长，到此为止");
  });
});

it("an answer that is whole says nothing of it", async () => {
  await stage.draw(answer({}));
  expect(stage.element.querySelector(".cut")).toBeNull();
});
