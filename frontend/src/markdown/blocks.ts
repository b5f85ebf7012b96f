/**
 * Markdown as blocks. While a text grows, only its last blocks are read again: the others keep their objects, by which
 * React knows that there is nothing to draw.
 */

import { Lexer, type Token, type TokensList } from "marked";

export interface Block {
  readonly raw: string;
  readonly token: Token;
}

export class Blocks {
  private readonly breaks: boolean;
  private text = "";
  private blocks: readonly Block[] = [];
  private starts: number[] = [];
  private links = ""; // the addresses that are defined in the text, for all of it

  constructor(breaks = false) {
    this.breaks = breaks;
  }

  /** The blocks of a text, which usually begins with the one that was given before. */
  of(given: string): readonly Block[] {
    const text = given.includes("\r") ? given.replace(/\r\n?/g, "\n") : given; // as the lexer counts
    if (text === this.text) return this.blocks;
    const grown = text.startsWith(this.text) && this.links === "{}";
    let keep = grown ? Math.max(this.blocks.length - 2, 0) : 0;
    let tokens = this.lex(text, keep);
    // An address that is defined now may be meant anywhere above, and one that is half written changes: all anew.
    if (keep && Object.keys(tokens.links).length) tokens = this.lex(text, (keep = 0));
    const links = JSON.stringify(tokens.links);
    const blocks = this.blocks.slice(0, keep);
    const starts = this.starts.slice(0, keep);
    let at = keep ? (this.starts[keep] ?? 0) : 0;
    for (const token of tokens) {
      if (token.type !== "space" && token.type !== "def") {
        const before = links === this.links ? this.blocks[blocks.length] : undefined;
        blocks.push(before?.raw === token.raw && before.token.type === token.type ? before : { raw: token.raw, token });
        starts.push(at);
      }
      at += token.raw.length;
    }
    this.text = text;
    this.blocks = blocks;
    this.starts = starts;
    this.links = links;
    return blocks;
  }

  private lex(text: string, keep: number): TokensList {
    return new Lexer({ gfm: true, breaks: this.breaks }).lex(text.slice(keep ? (this.starts[keep] ?? 0) : 0));
  }
}
