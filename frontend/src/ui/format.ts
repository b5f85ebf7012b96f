/** Times, numbers and money, in the reader's language. */

import type { Words } from "../i18n";

export function clock(at: string, tag: string): string {
  return new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit" }).format(new Date(at));
}

export function dayKey(at: string): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

const DAY_MS = 86_400_000;

/** "Today", "Yesterday", a weekday, or a date. */
export function dayName(at: string, tag: string, now = new Date()): string {
  const date = new Date(at);
  const start = (one: Date) => new Date(one.getFullYear(), one.getMonth(), one.getDate()).getTime();
  const days = Math.round((start(date) - start(now)) / DAY_MS);
  if (days === 0 || days === -1) {
    const words = new Intl.RelativeTimeFormat(tag, { numeric: "auto" }).format(days, "day");
    return words.charAt(0).toUpperCase() + words.slice(1);
  }
  if (days > -7 && days < 0) return new Intl.DateTimeFormat(tag, { weekday: "long" }).format(date);
  const sameYear = date.getFullYear() === now.getFullYear();
  return new Intl.DateTimeFormat(tag, { day: "numeric", month: "long", ...(!sameYear && { year: "numeric" }) }).format(date);
}

export function number(value: number, tag: string): string {
  return new Intl.NumberFormat(tag).format(value);
}

export function money(usd: number, tag: string): string {
  const digits = usd < 0.01 ? 4 : usd < 1 ? 3 : 2;
  return new Intl.NumberFormat(tag, { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: digits }).format(usd);
}

export function seconds(value: number, { tag, t }: Words): string {
  if (value >= 90) return t("took.minutes", { minutes: number(Math.floor(value / 60), tag), seconds: number(Math.floor(value % 60), tag) });
  if (value < 0.1) return t("took.ms", { ms: Math.max(Math.round(value * 1000), 1) }); // "0 s" would say that nothing was done
  const digits = { maximumFractionDigits: value < 10 ? 1 : 0 };
  return t("took.seconds", { seconds: new Intl.NumberFormat(tag, digits).format(value) });
}

/** 4:05 of what is left. */
export function countdown(ms: number): string {
  const left = Math.max(Math.ceil(ms / 1000), 0);
  const [hours, minutes, rest] = [Math.floor(left / 3600), Math.floor((left % 3600) / 60), left % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
