/** The page's words. A catalogue a language; a missing word is an error of the compiler. */

import { createContext, useContext } from "react";
import { straight } from "../ui/turning";
import { en } from "./en";
import { zh } from "./zh";

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
export type Language = "en" | "zh";

export const LANGUAGES: Record<Language, { name: string; catalogue: Catalogue; tag: string }> = {
  en: { name: "English", catalogue: en, tag: "en" },
  zh: { name: "中文", catalogue: zh, tag: "zh-CN" },
};

export type Values = Record<string, string | number>;
export type Say = (key: Key, values?: Values) => string;

/** `{name}` is replaced; of `one|many` the first is for a `count` of 1. */
export function say(catalogue: Catalogue, key: Key, values: Values = {}): string {
  const [one = "", many] = catalogue[key].split("|");
  const text = many === undefined || values["count"] === 1 ? one : many;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => straight(String(values[name] ?? whole)));
}

export interface Words {
  language: Language;
  tag: string;
  t: Say;
}

export function wordsOf(language: Language): Words {
  const { catalogue, tag } = LANGUAGES[language];
  return { language, tag, t: (key, values) => say(catalogue, key, values) };
}

export const WordsContext = createContext<Words>(wordsOf("en"));
export const useWords = (): Words => useContext(WordsContext);

export function languageOf(told: string): Language {
  return told.toLowerCase().startsWith("zh") ? "zh" : "en";
}
