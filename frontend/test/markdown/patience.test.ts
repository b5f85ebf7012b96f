import type { Tokens } from "marked";
import { describe, expect, it } from "vitest";
import { Blocks } from "../../src/markdown/blocks";

const of = (piece: string, length: number) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
const tokensOf = (text: string) => (new Blocks(true).of(text)[0]!.token as { tokens?: { type: string; raw: string }[] }).tokens ?? [];
const isAsWritten = (text: string) => tokensOf(text).every(({ type }) => type === "escape" || type === "br");

/** Each of them took seconds, and four times as long for each doubling or more. */
const BAD = ["你(_", "x*_", "[]*~", "]~你", "_你(", "<~你", "*你你(", "你_*", "_a"];

describe("a paragraph of signs that pair with nothing", () => {
  it.each(BAD)("is shown as it was written, before it costs much: %j", (piece) => {
    const text = of(piece, 10_000);
    const began = performance.now();
    expect(isAsWritten(text)).toBe(true);
    new Blocks(true).of(of(piece, 100_000));
    expect(performance.now() - began, "milliseconds").toBeLessThan(2000); // it took minutes
    expect(tokensOf(text).map(({ raw }) => raw).join("")).toBe(text);
  });

  it("is so also where it is one long word before an @", () => expect(isAsWritten(`${"x".repeat(9000)}@`)).toBe(true));

  it("is that one alone: what stands beside it is Markdown, in a list and a table, too", () => {
    const bad = of("x*_", 6000);
    const [list, said, table] = new Blocks().of(`- ${bad}\n- **b**\n\n**b** [a](https://chat.example)\n\n| h |\n|---|\n| ${bad} |\n| **b** |`);
    expect(JSON.stringify(list!.token)).toContain('"strong"');
    expect((said!.token as { tokens: { type: string }[] }).tokens.map(({ type }) => type)).toEqual(["strong", "text", "link"]);
    expect(JSON.stringify(table!.token)).toContain('"strong"');
  });

  it("is given up sooner where there are many of them, and what stands behind them is Markdown", () => {
    const bad = of("x*_", 900);
    const [list] = new Blocks().of(`${`- ${bad}\n`.repeat(100)}- a **b** [c](https://chat.example) snake_case`);
    const items = (list!.token as Tokens.List).items.map((item) => (item.tokens[0] as Tokens.Text).tokens!.map(({ type }) => type));
    expect(items[0]).not.toContain("escape");
    expect(items[99]).toEqual(["escape"]);
    expect(items[100]).toEqual(["text", "strong", "text", "link", "text"]);
  });

  it("keeps the box of a task that it says", () => {
    const [list] = new Blocks().of(`- [x] ${of("x*_", 6000)}\n\n- [ ] b`);
    const says = ({ tokens }: Tokens.ListItem) => (tokens[0] as Tokens.Paragraph).tokens.map(({ type }) => type);
    expect((list!.token as Tokens.List).items.map(says)).toEqual([["checkbox", "escape"], ["checkbox", "text"]]);
  });

  it("is Markdown as long as it is short", () => expect(isAsWritten(of("x*_", 300))).toBe(false));
});

describe("a long paragraph as people write it", () => {
  it.each([
    ["words", "The quick brown fox jumps over it. "],
    ["stress", "It is **bold** and _thin_ and ~~gone~~ and `code`. "],
    ["names", "some_snake_case_name "],
    ["names with signs around", "`__init__` and __init__ "],
    ["formulas", "2*x_1 + 3*y_2 - "],
    ["stars of a list of pointers", "char *a, **b; "],
    ["a log", "[INFO] a_b=1 <c> took 3 ms\n"],
    ["links", "[here](https://chat.example/a_b) and https://chat.example/c_d "],
    ["Chinese", "这是一个**重要**的句子，请看`代码`。"],
  ])("is Markdown: %s", (_, piece) => expect(isAsWritten(of(piece, 20_000))).toBe(false));

  it("is Markdown with a picture in it, however long its word is", () => {
    const picture = `data:image/png;base64,${"iVBORw0KGgo+/".repeat(2000)}`;
    expect(tokensOf(`**b** ![dot](${picture})`).map(({ type }) => type)).toEqual(["strong", "text", "image"]);
  });
});
