/** Who speaks, as a coloured sign: the agent's own avatar and colour, else a letter and a colour of the name. */

import type { CSSProperties } from "react";
import type { Author } from "../client";
import { straight } from "./turning";

const HUES = 12;

export function hueOf(name: string): number {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return (sum % HUES) * (360 / HUES);
}

/** Set by script as single properties, which a strict policy for styles allows. */
export function colours(author: Pick<Author, "name" | "color">): CSSProperties {
  const own = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(author.color) ? author.color : `hsl(${hueOf(author.name)} 60% 45%)`;
  return { "--who": own } as CSSProperties;
}

function sign(author: Pick<Author, "name" | "title" | "avatar">): string {
  const avatar = straight(author.avatar).trim();
  if (avatar && [...avatar].length <= 4 && !/[/.:\w]/.test(avatar)) return avatar; // an emoji; no address is fetched
  return ([...straight(author.title || author.name || "?")][0] ?? "?").toUpperCase();
}

type Who = Pick<Author, "name" | "title" | "avatar" | "color">;

export function Avatar({ author, small = false }: { author: Who; small?: boolean }) {
  return (
    // The sign is drawn by the style sheet: it is no text, to nobody who reads the page aloud.
    <span className={small ? "avatar small" : "avatar"} style={colours(author)} data-sign={sign(author)} aria-hidden="true" />
  );
}
