/** Draws a part of the page, with a client whose socket and requests go to a server of the test's own. */

import { act, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { readBoot } from "../../src/app/boot";
import { AgentsContext, type World, WorldContext } from "../../src/app/context";
import { type Agent, Chat } from "../../src/client";
import { type Language, wordsOf, WordsContext } from "../../src/i18n";
import { Notices } from "../../src/ui/Notices";
import { FakeServer } from "../client/server";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
window.matchMedia ??= (() => ({ matches: false })) as unknown as typeof matchMedia;

export const AGENTS: Agent[] = ["assistant", "support", "off"].map((name) => ({
  name,
  title: name,
  avatar: "",
  color: "",
  enabled: name !== "off",
}));

export class Stage {
  readonly server = new FakeServer();
  readonly chat = new Chat({ base: "http://chat", fetch: this.server.fetch, openSocket: this.server.openSocket, socket: "cookie" });
  readonly world: World = { boot: { ...readBoot(), user: { user_id: "u", username: "ada", name: "Ada", is_staff: false } }, chat: this.chat, userId: "u" };
  readonly element = document.createElement("div");
  private readonly root = createRoot(document.body.appendChild(this.element));

  async draw(what: ReactNode, language: Language = "en"): Promise<this> {
    const words = wordsOf(language);
    await act(async () =>
      this.root.render(
        <WorldContext.Provider value={this.world}>
          <WordsContext.Provider value={words}>
            <AgentsContext.Provider value={AGENTS}>
              <Notices>{what}</Notices>
            </AgentsContext.Provider>
          </WordsContext.Provider>
        </WorldContext.Provider>,
      ),
    );
    return this;
  }

  async online(): Promise<this> {
    await act(async () => this.chat.start());
    await act(async () => this.server.socket.hello());
    return this;
  }

  find<E extends HTMLElement = HTMLElement>(selector: string): E {
    const found = this.element.querySelector<E>(selector);
    if (!found) throw new Error(`There is no ${selector} in ${this.element.innerHTML}`);
    return found;
  }

  button(name: string): HTMLButtonElement {
    const all = [...this.element.querySelectorAll("button")];
    const found = all.find((one) => one.textContent === name || one.getAttribute("aria-label") === name);
    if (!found) throw new Error(`There is no button ${name} in ${this.element.innerHTML}`);
    return found;
  }

  click(name: string): Promise<void> {
    return act(async () => this.button(name).click());
  }

  async type(selector: string, text: string): Promise<void> {
    const field = this.find<HTMLTextAreaElement>(selector);
    const proto = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
    await act(async () => {
      Object.getOwnPropertyDescriptor(proto, "value")!.set!.call(field, text); // as a person does it, React must notice
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  async press(selector: string, key: string, more: KeyboardEventInit = {}): Promise<boolean> {
    let taken = false;
    await act(async () => {
      const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
      taken = !this.find(selector).dispatchEvent(event);
    });
    return taken;
  }

  async leave(): Promise<void> {
    await act(async () => this.root.unmount());
    this.chat.stop();
    this.element.remove();
  }
}
