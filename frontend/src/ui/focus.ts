/** What lies over the page takes the focus, and gives it back; what stands beside it leaves it where it is. */

import { type RefObject, useLayoutEffect } from "react";

// As in styles/layout.css and panel.css.
export const LIST_LIES_OVER = "(max-width: 760px)";
export const PANEL_LIES_OVER = "(max-width: 1000px)";

export function useTakesFocus(ref: RefObject<HTMLElement | null>, open: boolean, liesOver: string): void {
  useLayoutEffect(() => {
    const element = ref.current;
    if (!open || !element || !matchMedia(liesOver).matches) return;
    const before = document.activeElement;
    if (!element.contains(before)) element.focus();
    return () => {
      if (!(before instanceof HTMLElement) || !element.contains(document.activeElement)) return;
      queueMicrotask(() => {
        // Not at once: React puts the focus back to where it was before it drew. And not where somebody took it since.
        const now = document.activeElement;
        if (now === document.body || element.contains(now)) before.focus();
      });
    };
  }, [ref, open, liesOver]);
}
