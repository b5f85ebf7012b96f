/** Light, dark, or as the system says: a cookie, which the server's own pages follow too. */

import { type Boot, cookie, setCookie } from "./boot";

export type Theme = "system" | "light" | "dark";

export function readTheme(boot: Boot): Theme {
  const theme = cookie(boot.theme_cookie);
  return theme === "light" || theme === "dark" ? theme : "system";
}

export function setTheme(boot: Boot, theme: Theme): void {
  setCookie(boot.theme_cookie, theme === "system" ? "" : theme);
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}
