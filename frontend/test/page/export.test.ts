import { describe, expect, it } from "vitest";
import type { Message, Session } from "../../src/client";
import { asJson, asMarkdown, fileName } from "../../src/panel/export";
import { countdown, dayName, seconds } from "../../src/ui/format";
import { sessionOf } from "../../src/app/route";
import { wordsOf } from "../../src/i18n";

const session = { session_id: "s-1", title: "Plans / 计划: <now>" } as Session;
const said = (name: string, content: string, more: object = {}) =>
  ({ author: { name, title: "" }, role: "user", content, created_at: "2026-01-05T10:00:00Z", deleted_at: null, data: {}, ...more }) as unknown as Message;

describe("a session as a file", () => {
  it("tells who said what, as it was written", () => {
    const text = asMarkdown(session, [said("ada", "Hello **you**"), said("gone", "x", { deleted_at: "2026" })], "en");
    expect(text).toContain("# Plans / 计划: <now>");
    expect(text).toMatch(/## ada · .*2026.*\n\nHello \*\*you\*\*\n/);
    expect(text).not.toContain("gone");
  });

  it("puts a tool's call and result into fences that nothing in them can close", () => {
    const call = { tool: "search", args: { q: "x" }, status: "returned" };
    const text = asMarkdown(session, [said("bot", "```\nresult\n````", { data: { tool_call: call } })], "en");
    expect(text).toContain("`````\n```\nresult\n````\n`````");
    expect(text).toContain('"tool": "search"');
  });

  it("is whole as JSON", () => {
    const messages = [said("ada", "Hello")];
    expect(JSON.parse(asJson(session, messages))).toEqual({ session, messages });
  });

  it("has a name that every system takes", () => {
    expect(fileName(session, "md")).toBe("Plans-计划-now.md");
    expect(fileName({ ...session, title: "../.." }, "json")).toBe("s-1.json");
  });
});

describe("times", () => {
  const now = new Date(2026, 0, 10, 0, 5);
  it.each([
    [new Date(2026, 0, 10, 0, 1), "Today"],
    [new Date(2026, 0, 9, 23, 59), "Yesterday"],
    [new Date(2026, 0, 6, 12), "Tuesday"],
    [new Date(2025, 11, 24, 12), "December 24, 2025"],
  ])("%s is %s", (at, name) => expect(dayName(at.toISOString(), "en", now)).toBe(name));

  it("are never none", () => {
    expect([0, 0.0042, 0.12, 4.26, 42.4, 130].map((took) => seconds(took, wordsOf("en")))).toEqual([
      "1 ms", "4 ms", "0.1 s", "4.3 s", "42 s", "2 min 10 s",
    ]);
    expect(seconds(119.6, wordsOf("en"))).toBe("1 min 59 s");
  });

  it("are told in Chinese too", () => {
    expect([0.004, 4.26, 130].map((took) => seconds(took, wordsOf("zh")))).toEqual(["4 毫秒", "4.3 秒", "2 分 10 秒"]);
  });

  it("count down to nothing", () => {
    expect([3_725_000, 61_000, 900, -5].map(countdown)).toEqual(["1:02:05", "1:01", "0:01", "0:00"]);
  });
});

describe("the address", () => {
  it("names a session, or none", () => {
    const id = "26efacf8-a2dc-47c7-af7f-4587cc48ccc2";
    expect(sessionOf(`/c/${id}/`)).toBe(id);
    for (const path of ["/", "/c/", "/c/x/", `/d/${id}/`, `/c/${id}/x`]) expect(sessionOf(path)).toBeNull();
  });
});
