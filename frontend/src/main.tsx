/** Where the page begins. */

import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { type Boot, readBoot } from "./app/boot";
import { newWorld } from "./app/context";
import { Api, Refused } from "./client";
import { languageOf } from "./i18n";
import "./styles/index.css";

/** Who is signed in, where the page was not told: Vite's own server writes no user into it. */
async function whoever(boot: Boot): Promise<Boot> {
  if (boot.user) return boot;
  try {
    return { ...boot, user: await new Api().me() };
  } catch (problem) {
    if (problem instanceof Refused && problem.code === "not_authenticated") location.assign(boot.sign_in_url);
    return boot;
  }
}

const element = document.getElementById("app");
const boot = await whoever(readBoot());
if (element) createRoot(element).render(<App world={newWorld(boot)} language={languageOf(boot.language)} />);
