/** What the server wrote into the page. */

export interface Boot {
  user: { user_id: string; username: string; name: string; is_staff: boolean } | null;
  language: string;
  csrf_cookie: string;
  llms: string[];
  default_llm: string;
  max_content: number;
  sign_out_url: string;
  sign_in_url: string;
  password_url: string;
  admin_url: string;
}

const DEFAULTS: Boot = {
  user: null,
  language: "en",
  csrf_cookie: "csrftoken",
  llms: [],
  default_llm: "",
  max_content: 10_000,
  sign_out_url: "/logout/",
  sign_in_url: "/login/",
  password_url: "",
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
