/**
 * Markdown as blocks. While a text grows, only its last blocks are read again: the others keep their objects, by which
 * React knows that there is nothing to draw.
 */

import type { Token, Tokens, TokensList } from "marked";
import { straight } from "../ui/turning";
import { asWritten, PatientLexer } from "./patience";

export interface Block {
  readonly raw: string;
  readonly token: Token;
}

/**
 * How deep a text may nest. The lexer goes one call deeper for each level, and a message of quote marks alone would
 * end it; nobody reads the hundredth quote of a quote.
 */
const DEEPEST = 200;
const MARKS = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))+/gm;

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
    const straightened = straight(given);
    const text = straightened.includes("\r") ? straightened.replace(/\r\n?/g, "\n") : straightened; // as the lexer counts
    if (text === this.text) return this.blocks;
    const grown = text.startsWith(this.text) && this.links === "{}";
    let keep = grown ? Math.max(this.blocks.length - 2, 0) : 0;
    let tokens = this.lex(text, keep);
    if (!tokens) return this.asItIs(text);
    // An address that is defined now may be meant anywhere above, and one that is half written changes: all anew.
    if (keep && Object.keys(tokens.links).length) tokens = this.lex(text, (keep = 0));
    if (!tokens) return this.asItIs(text);
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

  /** null where the text cannot be read as Markdown. */
  private lex(text: string, keep: number): TokensList | null {
    const part = text.slice(keep ? (this.starts[keep] ?? 0) : 0);
    // An item of a list is two levels: the list's, and its own.
    for (const [marks] of part.matchAll(MARKS)) if (marks.replace(/[ \t\d]/g, "").length > DEEPEST / 2) return null;
    let tokens: TokensList;
    try {
      tokens = new PatientLexer({ gfm: true, breaks: this.breaks }).lex(part);
    } catch {
      return null; // signs for stress nest as well, and no count beforehand tells which of them will pair
    }
    return isDeep(tokens) ? null : tokens;
  }

  /** A text as it was written: in place of Markdown, one block of plain lines. */
  private asItIs(text: string): readonly Block[] {
    this.text = text;
    this.links = ""; // so that all of a longer text is looked at again
    this.starts = [0];
    this.blocks = [{ raw: text, token: { type: "paragraph", raw: text, text, tokens: asWritten(text) } }];
    return this.blocks;
  }
}

/** Whether tokens nest deeper than may be drawn. Counted without calls: the depth is what is in doubt. */
function isDeep(tokens: readonly Token[]): boolean {
  let level: readonly Nest[] = tokens;
  for (let depth = 0; level.length; depth++) {
    if (depth > DEEPEST) return true;
    level = level.flatMap(below);
  }
  return false;
}

type Nest = Token | Tokens.ListItem | Tokens.TableCell;

function below(one: Nest): Nest[] {
  const cells = "rows" in one ? [...(one as Tokens.Table).header, ...(one as Tokens.Table).rows.flat()] : [];
  const items = "items" in one ? (one as Tokens.List).items : [];
  return [...(("tokens" in one && one.tokens) || []), ...items, ...cells];
}
