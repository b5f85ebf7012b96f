// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Message, type Run, Talk } from "../../src/client";
import { Queue } from "../../src/composer/Queue";
import { Stage } from "./draw";

const FIELD = "textarea";
let stage: Stage;
const onEdit = vi.fn();
const edited = () => stage.server.socket.heard("message.update").map(({ data }) => data["content"]);

function talk(waiting: Run["status"] = "queued", ahead: Run["status"] = "running"): Talk {
  const made = new Talk("s");
  for (const [id, status, position] of [["a", ahead, 1], ["b", waiting, 2]] as const) {
    made.runs.set(id, { run_id: id, session_id: "s", question_id: `m${id}`, status, position } as Run);
    made.messages.set(`m${id}`, { message_id: `m${id}`, session_id: "s", role: "user", run_id: id, content: `Message ${id}`, data: {} } as unknown as Message);
  }
  return made;
}

const queue = (of = talk()) => stage.draw(<Queue talk={of} editing="b" onEdit={onEdit} />);

beforeEach(async () => {
  onEdit.mockClear();
  stage = await new Stage().online();
});
afterEach(() => stage.leave());

describe("a waiting message that is changed", () => {
  it("is done with once the server has taken it", async () => {
    await queue();
    await stage.type(FIELD, "Changed");
    await stage.click("Save");
    expect(edited()).toEqual(["Changed"]);
    expect(onEdit).toHaveBeenCalledExactlyOnceWith(null);
  });

  it("stays to be sent again where it was refused", async () => {
    stage.server.answer = (command, socket) => socket.refuse(command, "unavailable", { temporary: true });
    await queue();
    await stage.type(FIELD, "Changed");
    await stage.click("Save");
    expect(onEdit).not.toHaveBeenCalled();
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("Changed");
    expect(stage.find(".notices").textContent).toContain("The server is not available.");
  });

  it.each([
    ["its turn comes", talk("running", "succeeded")],
    ["it is about to be answered", talk("queued", "succeeded")],
  ])("can be said anew where %s meanwhile", async (_, later) => {
    await queue();
    await stage.type(FIELD, "Changed");
    await queue(later);
    expect(stage.find<HTMLTextAreaElement>(FIELD).value).toBe("Changed");
    expect(stage.find("[role=alert]").textContent).toContain("Its turn has come");
    await stage.click("Send as a new message");
    expect(edited()).toEqual([]);
    expect(stage.server.socket.heard("message.send").map(({ data }) => data["content"])).toEqual(["Changed"]);
    expect(onEdit).toHaveBeenCalledExactlyOnceWith(null);
  });

  it("is left alone where its turn comes before anything was changed", async () => {
    await queue();
    await queue(talk("running", "succeeded"));
    expect(onEdit).toHaveBeenCalledWith(null);
  });
});
