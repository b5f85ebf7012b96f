/**
 * JSON with the integers that a number of JavaScript cannot hold. An id of 19 digits would be shown, approved and sent
 * as another one.
 */

/** An integer as it is written. */
export class Exact {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }

  toJSON(): string {
    return MARK + this.source;
  }
}

/** Stands before an integer where JSON has a text for it. Another one on each page: nobody can write it in a text. */
const MARK = `exact ${Math.random()} `;
const MARKED = new RegExp(`"${MARK.replace(".", "\\.")}(-?\\d+)"`, "g");
const LONG = /\d{16}/;
// Where a text begins or ends, an escape in one, or a number. A pattern for whole texts would run out of stack.
const PIECES = /"|\\.|-?\d[\d.eE+-]*/g;

export function parse(text: string): unknown {
  const plain: unknown = JSON.parse(text); // what is no JSON goes no further
  if (!LONG.test(text)) return plain; // nearly every frame: what follows costs several times as much
  let found = false;
  let inText = false;
  const marked = text.replace(PIECES, (piece) => {
    if (piece === '"') inText = !inText;
    if (inText || !isTooLong(piece)) return piece;
    found = true;
    return JSON.stringify(new Exact(piece));
  });
  if (!found) return plain;
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? new Exact(value.slice(MARK.length)) : value,
  );
}

export function stringify(value: unknown, space?: number): string {
  return JSON.stringify(value, null, space).replace(MARKED, "$1");
}

/** A number as it is typed: NaN while it is none. */
export function toNumber(typed: string): number | Exact {
  const text = typed.trim().replace(/^(-?)0+(?=\d)/, "$1"); // JSON has no zeros there
  return isTooLong(text) ? new Exact(text) : text ? Number(text) : NaN;
}

function isTooLong(text: string): boolean {
  return /^-?[1-9]\d{15,}$/.test(text) && !Number.isSafeInteger(Number(text));
}
