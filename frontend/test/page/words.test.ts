import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Key, LANGUAGES, languageOf, say } from "../../src/i18n";
import { en } from "../../src/i18n/en";
import { zh } from "../../src/i18n/zh";

const SOURCE = join(import.meta.dirname, "../../src");
const names = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx$/.test(entry.name) ? [readFileSync(path, "utf8")] : [];
  });
}

describe("the catalogues", () => {
  it("have the same keys, and nothing is empty", () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
    for (const catalogue of [en, zh]) for (const text of Object.values(catalogue)) expect(text.trim()).not.toBe("");
  });

  it.each(Object.keys(en) as Key[])("%s names the same values in both languages", (key) => {
    // A plural's forms name them all.
    for (const form of en[key].split("|")) expect(names(zh[key])).toEqual(names(form));
  });

  it("are Chinese where they should be", () => {
    const latin = Object.entries(zh).filter(([, text]) => !/[\u4e00-\u9fff]/.test(text));
    expect(latin).toEqual([]);
  });

  it("hold all words: no element has text of its own", () => {
    const found = sources(SOURCE).flatMap((text) => text.match(/>\s*[A-Z][a-z]+(?: [a-z]+)*\s*<\//g) ?? []);
    expect(found.map((one) => one.replace(/[\s<>/]/g, "")).filter((one) => one !== "Markdown")).toEqual([]);
  });
});

describe("a text", () => {
  it("tells one from many", () => {
    expect(say(en, "queue.count", { count: 1 })).toBe("1 message waits");
    expect(say(en, "queue.count", { count: 0 })).toBe("0 messages wait");
    expect(say(zh, "queue.count", { count: 3 })).toBe("3 条消息排队中");
  });

  it("takes values as they are", () => {
    expect(say(en, "session.actions", { title: "{title} $& <b>" })).toBe("Actions for {title} $& <b>");
  });
});

describe("the language", () => {
  it.each([["zh", "zh"], ["zh-hans", "zh"], ["ZH_CN", "zh"], ["en", "en"], ["de", "en"], ["", "en"]])("%j is %s", (told, is) => {
    expect(languageOf(told)).toBe(is);
    expect(LANGUAGES[languageOf(told)]).toBeDefined();
  });
});
