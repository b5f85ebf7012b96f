/** Draws Markdown into a page without a screen. */

import { act, createElement } from "react";
import { createRoot, type Root } from "react-dom/client";
import { Markdown } from "../../src/markdown/Markdown";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

export class Drawn {
  readonly element = document.createElement("div");
  private readonly root: Root;

  constructor(text = "") {
    document.body.append(this.element);
    this.root = createRoot(this.element);
    if (text) this.write(text, false);
  }

  write(text: string, writing = true): this {
    act(() => this.root.render(createElement(Markdown, { text, writing })));
    return this;
  }

  click(selector: string): void {
    act(() => this.element.querySelector<HTMLElement>(selector)!.click());
  }

  get html(): string {
    return this.element.innerHTML;
  }

  all(selector: string): Element[] {
    return [...this.element.querySelectorAll(selector)];
  }
}
