/** Which addresses of a text may become links, and what its entities mean. */

import { straight, turns } from "../ui/turning";

const LINKS = new Set(["http:", "https:", "mailto:"]);

export interface Link {
  href: string;
  /** Where it leads: the host, or the address that is written to. */
  to: string;
}

/**
 * An address of a text as a link; null where it may not be one. A relative address is none: a text that is not ours
 * must not make our own pages act.
 */
export function safeLink(raw: string): Link | null {
  let url: URL;
  try {
    url = new URL(decodeEntities(raw).trim());
  } catch {
    return null;
  }
  if (!LINKS.has(url.protocol)) return null;
  if (url.protocol === "mailto:") return { href: url.href, to: decodeURIComponentSafely(url.pathname) };
  return url.host ? { href: url.href, to: url.host } : null;
}

/** A picture that is in the text itself, so that showing it tells nobody. No SVG. */
export function safePicture(raw: string): string | null {
  return /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}$/.test(raw) ? raw : null;
}

function decodeURIComponentSafely(text: string): string {
  try {
    const decoded = decodeURIComponent(text);
    return turns(decoded) ? text : decoded;
  } catch {
    return text;
  }
}

const NAMED: Record<string, string> = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«", raquo: "»", bull: "•",
  middot: "·", times: "×", divide: "÷", plusmn: "±", deg: "°", euro: "€", pound: "£", yen: "¥", sect: "§", para: "¶",
  larr: "←", uarr: "↑", rarr: "→", darr: "↓", harr: "↔", rArr: "⇒", le: "≤", ge: "≥", ne: "≠", infin: "∞",
  auml: "ä", ouml: "ö", uuml: "ü", Auml: "Ä", Ouml: "Ö", Uuml: "Ü", szlig: "ß", eacute: "é", egrave: "è", colon: ":",
  Tab: "\t", NewLine: "\n", lpar: "(", rpar: ")", sol: "/", num: "#", lowbar: "_", ast: "*", check: "✓", cross: "✗",
};

/**
 * Markdown's `&amp;` is `&`; a sign that would turn the order of the text is left out. The text is shown by React, which
 * writes no HTML: nothing decoded here can be a tag.
 */
export function decodeEntities(text: string): string {
  if (!text.includes("&")) return straight(text); // the lexer has decoded some already
  const decoded = text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(\w{1,31}));/g, (whole, decimal, hex, name) => {
    if (name) return NAMED[name as string] ?? whole;
    const point = decimal ? parseInt(decimal as string, 10) : parseInt(hex as string, 16);
    const odd = point === 0 || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff);
    return odd ? "\ufffd" : String.fromCodePoint(point);
  });
  return straight(decoded);
}
