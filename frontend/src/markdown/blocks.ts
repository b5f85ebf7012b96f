/**
 * Markdown as blocks. While a text grows, only its last blocks are read again: the others keep their objects, by which
 * React knows that there is nothing to draw.
 */

import { Lexer, type Token, type TokensList } from "marked";

export interface Block {
  readonly raw: string;
  readonly token: Token;
}

type Links = TokensList["links"];

export class Blocks {
  private readonly breaks: boolean;
  private text = "";
  private blocks: readonly Block[] = [];
  private links: Links = {};
  private starts: number[] = [];

  constructor(breaks = false) {
    this.breaks = breaks;
  }

  /** The blocks of a text, which usually begins with the one that was given before. */
  of(text: string): readonly Block[] {
    if (text === this.text) return this.blocks;
    const keep = text.startsWith(this.text) ? Math.max(this.blocks.length - 2, 0) : 0;
    const from = keep ? (this.starts[keep] ?? 0) : 0;
    const lexer = new Lexer({ gfm: true, breaks: this.breaks });
    if (keep) lexer.tokens.links = { ...this.links };
    const tokens = lexer.lex(text.slice(from));
    const known = Object.keys(this.links).length;
    const same = Object.keys(tokens.links).length === known;
    const blocks = this.blocks.slice(0, keep);
    const starts = this.starts.slice(0, keep);
    let at = from;
    for (const token of tokens) {
      if (token.type !== "space" && token.type !== "def") {
        const before = same ? this.blocks[blocks.length] : undefined;
        blocks.push(before?.raw === token.raw && before.token.type === token.type ? before : { raw: token.raw, token });
        starts.push(at);
      }
      at += token.raw.length;
    }
    this.text = text;
    this.blocks = blocks;
    this.starts = starts;
    this.links = tokens.links;
    return blocks;
  }
}
