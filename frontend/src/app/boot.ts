/** What the server wrote into the page. */

import { Offline, Refused } from "../client";

export interface Boot {
  user: { user_id: string; username: string; name: string; is_staff: boolean } | null;
  language: string;
  language_cookie: string;
  theme_cookie: string;
  csrf_cookie: string;
  /** What a message may name; the first is what is used where it names none. */
  llms: string[];
  /** Who answers where nobody was chosen. */
  default_agent: string;
  max_content: number;
  sign_in_url: string;
  sign_out_url: string;
  password_url: string;
  about_url: string;
  admin_url: string;
}

const DEFAULTS: Boot = {
  user: null,
  language: "en",
  language_cookie: "chat_language",
  theme_cookie: "chat_theme",
  csrf_cookie: "csrftoken",
  llms: [],
  default_agent: "assistant",
  max_content: 10_000,
  sign_in_url: "/login/",
  sign_out_url: "/logout/",
  password_url: "",
  about_url: "",
  admin_url: "",
};

export function readBoot(from: Document = document): Boot {
  try {
    const told = JSON.parse(from.getElementById("boot")?.textContent ?? "{}") as Partial<Boot>;
    const known = Object.entries(told).filter(([, value]) => value !== undefined && value !== null);
    return { ...DEFAULTS, ...Object.fromEntries(known) };
  } catch {
    return DEFAULTS;
  }
}

export function cookie(name: string): string {
  const pair = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}

/** What the server's own pages follow too, from their first byte on. */
export function setCookie(name: string, value: string): void {
  const age = value ? 31_536_000 : 0;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${age}; samesite=lax${secure}`;
}

/** Sign out. Rejects with Offline or Refused: then one is signed in still. */
export async function endSession(boot: Boot): Promise<void> {
  let response: Response;
  try {
    // Where it leads afterwards is not for here: a redirect is its yes.
    const headers = { "X-CSRFToken": cookie(boot.csrf_cookie) };
    response = await fetch(boot.sign_out_url, { method: "POST", headers, redirect: "manual", signal: AbortSignal.timeout(20_000) });
  } catch {
    throw new Offline();
  }
  if (response.type !== "opaqueredirect" && !response.ok) throw Refused.fromBody(response.status, null);
}
