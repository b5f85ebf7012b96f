/** Beside the talk: the questions that wait, or what there is to know about this session. As wide as one likes. */

import { type KeyboardEvent, type PointerEvent, type ReactNode, useRef, useState } from "react";
import { read, write } from "../app/store";
import { useWords } from "../i18n";
import { PANEL_LIES_OVER, useTakesFocus } from "../ui/focus";
import { Icon } from "../ui/Icon";

const LEAST = 280;
const MOST = 600;
const USUAL = 416;
const STEP = 24;

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

const fit = (width: number) => Math.min(Math.max(Math.round(width), LEAST), MOST);

export function Panel({ title, onClose, children }: Props) {
  const { t } = useWords();
  const [width, setWidth] = useState(() => fit(Number(read("panel.width")) || USUAL));
  const ref = useRef<HTMLElement>(null);
  useTakesFocus(ref, true, PANEL_LIES_OVER);
  const set = (value: number) => {
    setWidth(fit(value));
    write("panel.width", String(fit(value)));
  };
  const drag = (event: PointerEvent<HTMLDivElement>) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    set(window.innerWidth - event.clientX);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const to = { ArrowLeft: width + STEP, ArrowRight: width - STEP, Home: LEAST, End: MOST, Enter: USUAL }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    set(to);
  };
  return (
    <aside ref={ref} tabIndex={-1} className="panel" aria-label={title} style={{ width }}>
      {/* A splitter is a separator with a value that takes keys. */}
      <div
        className="splitter"
        role="separator"
        aria-orientation="vertical"
        aria-label={t("panel.width")}
        aria-valuemin={LEAST}
        aria-valuemax={MOST}
        aria-valuenow={width}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={drag}
        onDoubleClick={() => set(USUAL)}
      />
      <header>
        <h2>{title}</h2>
        <button type="button" className="quiet icon-only" onClick={onClose} aria-label={t("close")}>
          <Icon name="close" />
        </button>
      </header>
      <div className="panel-body">{children}</div>
    </aside>
  );
}
