import { describe, expect, it } from "vitest";
import { Blocks } from "../../src/markdown/blocks";

const TEXT = [
  "# A heading", "A paragraph\nof two lines.", "- one\n- two\n\n- three, loose\n  - nested", "1. a\n2. b",
  "```python\ndef f():\n\n    return '# no heading'\n```", "> quote\nlazy", "| a | b |\n|---|---|\n| 1 | 2 |", "Setext\n===", "    indented code",
].join("\n\n");
const REFERRING = `See [here][r].\n\n${TEXT}\n\n[r]: https://chat.example/long/address\n\nThe end.`;

describe("a text that grows", () => {
  it.each([1, 4])("tells an address that is defined below to what stands above, in steps of %d", (step) => {
    const growing = new Blocks();
    for (let end = 1; end < REFERRING.length; end += step) growing.of(REFERRING.slice(0, end));
    expect(growing.of(REFERRING)).toEqual(new Blocks().of(REFERRING));
  });

  it("counts line ends of any kind", () => {
    const text = TEXT.replaceAll("\n", "\r\n");
    const growing = new Blocks();
    for (let end = 1; end < text.length; end += 5) growing.of(text.slice(0, end));
    expect(growing.of(text)).toEqual(new Blocks().of(TEXT));
  });

  it.each([1, 2, 3, 7, 20])("ends as the same blocks as the whole text, in steps of %d", (step) => {
    const growing = new Blocks();
    for (let end = 1; end < TEXT.length; end += step) growing.of(TEXT.slice(0, end));
    const grown = growing.of(TEXT).map((block) => [block.token.type, block.raw]);
    expect(grown).toEqual(new Blocks().of(TEXT).map((block) => [block.token.type, block.raw]));
  });

  it("reads only its last blocks again: those before keep their objects", () => {
    const blocks = new Blocks();
    const before = blocks.of("One.\n\nTwo.\n\nThree.\n\nFo");
    const after = blocks.of("One.\n\nTwo.\n\nThree.\n\nFour.");
    expect(after.length).toBe(4);
    expect(after.slice(0, 3).every((block, index) => block === before[index])).toBe(true);
    expect(after[3]).not.toBe(before[3]);
  });

  it("costs no more at its end than at its beginning", () => {
    const blocks = new Blocks();
    let text = "";
    let made = 0;
    let last: readonly unknown[] = [];
    for (let index = 0; index < 400; index++) {
      text += `Paragraph ${index}.\n\n`;
      const now = blocks.of(text);
      made += now.filter((block) => !last.includes(block)).length;
      last = now;
    }
    expect(made).toBeLessThan(400 * 2);
  });

  it("begins anew where the text is another one", () => {
    const blocks = new Blocks();
    blocks.of("One.\n\nTwo.\n\nThree.");
    expect(blocks.of("Else.").map((block) => block.raw)).toEqual(["Else."]);
  });
});

describe("a text that nests without end", () => {
  const LENGTH = 10_000; // what one message may have
  const fill = (piece: string) => piece.repeat(LENGTH / piece.length);
  it.each([">", "> ", "- ", "1. ", "> - ", "*", "~~a ~b "])("of %j is shown as it was written", (piece) => {
    const text = piece === "*" ? `${fill("*").slice(0, 5000)}x${fill("*").slice(0, 4999)}` : fill(piece);
    const full = piece.startsWith("~") ? fill(piece).slice(0, 5000) + "b~ c~~ ".repeat(700) : text;
    const [block, ...more] = new Blocks().of(full);
    expect(more).toEqual([]);
    expect(block!.token).toMatchObject({ type: "paragraph", tokens: [{ type: "escape", text: full }] });
  });

  it("keeps its lines, and is Markdown again when it is another one", () => {
    const blocks = new Blocks();
    const [block] = blocks.of(`one\n${fill(">")}\ntwo`);
    expect((block!.token as { tokens: { type: string }[] }).tokens.map(({ type }) => type)).toEqual(["escape", "br", "escape", "br", "escape"]);
    expect(blocks.of("# T\n\nx").map(({ token }) => token.type)).toEqual(["heading", "paragraph"]);
  });

  it("looks the same whether it came at once or in pieces", () => {
    const text = `# T\n\na\n\nb\n\n${">".repeat(150)} x\n\nthe end`;
    const growing = new Blocks();
    for (let end = 1; end < text.length; end += 3) growing.of(text.slice(0, end));
    expect(growing.of(text)).toEqual(new Blocks().of(text));
  });

  it("is plain also where it is in a table", () => {
    const cell = "~~a ~b ".repeat(300) + "b~ c~~ ".repeat(300);
    expect(new Blocks().of(`| a |\n|---|\n| ${cell} |`).map(({ token }) => token.type)).toEqual(["paragraph"]);
  });

  it("is Markdown as deep as anybody writes", () => {
    const of = (text: string) => new Blocks().of(text).map(({ token }) => token.type);
    expect(of(`${">".repeat(60)} x`)).toEqual(["blockquote"]);
    expect(of(`${"- ".repeat(60)}x`)).toEqual(["list"]);
    expect(of("-".repeat(300))).toEqual(["hr"]);
    expect(of("| a | b |\n|---|---|\n| *1* | 2 |")).toEqual(["table"]);
  });
});
