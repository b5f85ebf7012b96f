/**
 * A lexer that gives a paragraph up before it costs seconds: of signs for stress that never pair, and of words without
 * an end, each makes it look at all that follows. Such a paragraph is shown as it was written.
 *
 * What is counted is work and not time, so that a text looks the same in every browser.
 */

import { Lexer, type MarkedOptions, type Token, Tokenizer, type Tokens } from "marked";

/** Characters looked at for nothing. Some 300 signs without a partner in 4000 characters; about 0.1 s. */
const PATIENCE = 500_000;
/** For all paragraphs of a text. Behind that, what each may cost is its own length: words and what pairs cost less. */
const PATIENCE_IN_ALL = 4 * PATIENCE;
const NO_ADDRESS = /[^\w.!#$%&'*+/=?^`{|}~-]|$/; // what ends a word that may turn out to be somebody's address

class TooMuch extends Error {}

class Counting extends Tokenizer {
  left = 0;
  private last: { rest: number; inWord: boolean } | undefined;

  /** What no other rule took: a sign here was compared with the whole rest, a letter with the rest of its word. */
  override inlineText(src: string): Tokens.Text | undefined {
    const inName = src.startsWith("_") && this.last?.rest === src.length && this.last.inWord; // snake_case costs nothing
    this.left -= /^[*_~`]/.test(src) && !inName ? src.length : src.search(NO_ADDRESS);
    if (this.left < 0) throw new TooMuch();
    const token = super.inlineText(src);
    if (token) this.last = { rest: src.length - token.raw.length, inWord: /[\p{L}\p{N}_]$/u.test(token.raw) };
    return token;
  }
}

export class PatientLexer extends Lexer {
  private readonly counting: Counting;
  private left = PATIENCE_IN_ALL;
  private nested = false;

  constructor(options: MarkedOptions) {
    const counting = new Counting();
    super({ ...options, tokenizer: counting });
    this.counting = counting;
  }

  override inlineTokens(src: string, tokens: Token[] = []): Token[] {
    if (this.nested) return super.inlineTokens(src, tokens);
    const { inLink, inRawBlock, linkEmitted } = this.state;
    const kept = tokens.length; // the box of a task stands before what it says
    const most = this.left > 0 ? PATIENCE : src.length;
    this.counting.left = most;
    this.nested = true;
    try {
      return super.inlineTokens(src, tokens);
    } catch (problem) {
      if (!(problem instanceof TooMuch)) throw problem;
      Object.assign(this.state, { inLink, inRawBlock, linkEmitted });
      tokens.splice(kept, Infinity, ...asWritten(src)); // the block that they belong to holds this very list
      return tokens;
    } finally {
      this.left -= most - this.counting.left;
      this.nested = false;
    }
  }
}

/** A text as plain lines. */
export function asWritten(text: string): Token[] {
  const lines: Token[] = text.split("\n").flatMap((line) => [
    { type: "br", raw: "\n" },
    { type: "escape", raw: line, text: line },
  ]);
  return lines.slice(1);
}
