/** The talk of one session: only what is in sight is drawn, and the reader's place is never taken away. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useTopic, useWorld } from "../app/context";
import type { Opened } from "../client";
import { useWords } from "../i18n";
import { Boundary, BrokenPart } from "../ui/Boundary";
import { Icon } from "../ui/Icon";
import { Announcer } from "./Announcer";
import { type Item, itemsOf } from "./items";
import { Row } from "./Row";

const NEAR_END_PX = 80;
const NEAR_START_PX = 600;

/** A first guess; what is drawn is measured. */
const GUESS: Record<Item["kind"], number> = {
  day: 44,
  asked: 72,
  answer: 140,
  tool: 46,
  notice: 56,
  pending: 60,
  question: 220,
  footer: 34,
  unsent: 72,
};

export function Thread({ opened, sessionId }: { opened: Opened; sessionId: string }) {
  const { chat } = useWorld();
  const { t } = useWords();
  const outbox = useTopic("outbox");
  const { talk } = opened;
  const { version } = talk;
  // eslint-disable-next-line react-hooks/exhaustive-deps -- the talk changes in place, and says so by its version
  const items = useMemo(() => itemsOf(talk, chat.outbox.of(sessionId)), [talk, version, outbox, sessionId]);
  const scroller = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);

  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => GUESS[items[index]!.kind],
    getItemKey: useCallback((index: number) => items[index]!.key, [items]),
    anchorTo: "end",
    scrollEndThreshold: NEAR_END_PX,
    overscan: 6,
    paddingStart: 16,
    paddingEnd: 24,
  });

  const atEnd = useRef(true);
  const toEnd = useCallback(() => {
    atEnd.current = true;
    setAway(false);
    if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, []);

  // Whoever is at the end stays there, whatever grows: an answer, a card, the field below.
  const size = virtual.getTotalSize();
  useLayoutEffect(() => {
    if (atEnd.current) toEnd();
  }, [size, toEnd]);
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => atEnd.current && toEnd());
    observer.observe(element);
    return () => observer.disconnect();
  }, [toEnd]);

  const scrolledTo = useRef(0);
  const onScroll = () => {
    const element = scroller.current;
    if (!element) return;
    const left = element.scrollHeight - element.scrollTop - element.clientHeight;
    // Only a reader scrolls up: what grows leaves the place where it is, and is no reason to let go.
    if (left <= NEAR_END_PX) atEnd.current = true;
    else if (element.scrollTop < scrolledTo.current) atEnd.current = false;
    scrolledTo.current = element.scrollTop;
    setAway(left > NEAR_END_PX * 2 && !atEnd.current);
    if (element.scrollTop < NEAR_START_PX) void chat.loadOlder(sessionId);
  };

  // What I say brings me to the end, wherever I was reading.
  const unsent = items.at(-1)?.kind === "unsent" ? items.at(-1)!.key : "";
  useEffect(() => {
    if (unsent) toEnd();
  }, [unsent, toEnd]);

  // A short first page leaves nothing to scroll by.
  useEffect(() => {
    const element = scroller.current;
    if (element && element.scrollHeight <= element.clientHeight + NEAR_END_PX) void chat.loadOlder(sessionId);
  }, [chat, sessionId, items.length]);

  return (
    <div className="thread">
      <h2 className="off-screen">{t("thread")}</h2>
      <div className="scroller" ref={scroller} onScroll={onScroll} tabIndex={0} role="log" aria-live="off" aria-label={t("thread")}>
        {opened.loadingOlder || opened.olderFailed ? (
          <div className="loading-older">{t(opened.loadingOlder ? "loading" : "thread.older_failed")}</div>
        ) : null}
        <div className="rows" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, key, start }) => (
            <div
              key={key}
              ref={virtual.measureElement}
              data-index={index}
              className="row"
              style={{ transform: `translateY(${start}px)` }}
            >
              <Boundary broken={<BrokenPart />} of={items[index]}>
                <Row item={items[index]!} sessionId={sessionId} talk={talk} />
              </Boundary>
            </div>
          ))}
        </div>
      </div>
      {away ? (
        <button
          type="button"
          className="to-end"
          onClick={toEnd}
          aria-label={t("thread.to_end")}
          title={t("thread.to_end")}
        >
          <Icon name="down" />
        </button>
      ) : null}
      <Announcer talk={talk} version={version} />
    </div>
  );
}
