/** Where the page begins. */

import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { readBoot } from "./app/boot";
import { newWorld } from "./app/context";
import { languageOf } from "./i18n";
import "./styles/index.css";

const boot = readBoot();
const element = document.getElementById("app");
if (element) createRoot(element).render(<App world={newWorld(boot)} language={languageOf(boot.language)} />);
