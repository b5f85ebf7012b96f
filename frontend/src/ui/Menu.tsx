/** A button that opens a list of choices; arrows, Home, End and Escape work as in any menu. */

import { type KeyboardEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";

export interface Choice {
  key: string;
  label: ReactNode;
  hint?: string;
  icon?: ReactNode;
  checked?: boolean;
  danger?: boolean;
  onChoose: () => void;
}

interface Props {
  label: string;
  button: ReactNode;
  choices: readonly Choice[];
  className?: string;
  /** Where the list opens. */
  side?: "up" | "down";
  align?: "start" | "end";
  disabled?: boolean;
}

export function Menu({ label, button, choices, className = "quiet icon-only", side = "down", align = "end", disabled }: Props) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const root = useRef<HTMLDivElement>(null);
  const trigger = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!open) return;
    const items = root.current?.querySelectorAll<HTMLElement>("[role^=menuitem]");
    (root.current?.querySelector<HTMLElement>("[aria-checked=true]") ?? items?.[0])?.focus();
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    trigger.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    const items = [...(root.current?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Tab") return setOpen(false);
    if (event.key === "Escape") {
      event.stopPropagation();
      return close();
    }
    if (to === undefined) return;
    event.preventDefault();
    items[(to + items.length) % items.length]?.focus();
  };

  const role = choices.some((choice) => choice.checked !== undefined) ? "menuitemradio" : "menuitem";
  return (
    <div className="menu" ref={root} onKeyDown={onKeyDown}>
      <button
        type="button"
        ref={trigger}
        className={className}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        disabled={disabled}
        onClick={() => setOpen(!open)}
      >
        {button}
      </button>
      {open ? (
        <div id={id} role="menu" aria-label={label} className="choices" data-side={side} data-align={align}>
          {choices.map((choice) => (
            <button
              key={choice.key}
              type="button"
              role={role}
              tabIndex={-1}
              aria-checked={role === "menuitemradio" ? Boolean(choice.checked) : undefined}
              className={choice.danger ? "danger" : undefined}
              onClick={() => {
                close();
                choice.onChoose();
              }}
            >
              {choice.icon}
              <span>
                {choice.label}
                {choice.hint ? <small>{choice.hint}</small> : null}
              </span>
            </button>
          ))}
        </div>
      ) : null}
    </div>
  );
}
