/** The sessions: found, opened, renamed, put away; new ones and changes of other tabs come by themselves. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import { useTopic, useWorld } from "../app/context";
import type { SessionQuery } from "../client";
import { useWords } from "../i18n";
import { Icon } from "../ui/Icon";
import { Menu } from "../ui/Menu";
import { SessionRow } from "./SessionRow";

interface Props {
  current: string | null;
  onOpen: (sessionId: string | null) => void;
}

const FILTERS = ["", "active", "interrupted", "waiting", "completed", "closed"] as const;
const ROW_PX = 44;
const SEARCH_AFTER_MS = 250;

export function Sidebar({ current, onOpen }: Props) {
  const { chat } = useWorld();
  const { t } = useWords();
  useTopic("sessions");
  const { state } = chat.sessions;
  const [q, setQ] = useState("");
  const [status, setStatus] = useState<(typeof FILTERS)[number]>("");
  const scroller = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const query: SessionQuery = { ...(q.trim() && { q: q.trim() }), ...(status && { status }) };
    const timer = setTimeout(() => void chat.sessions.find(query), q ? SEARCH_AFTER_MS : 0);
    return () => clearTimeout(timer);
  }, [chat, q, status]);

  const rows = state.rows;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    getItemKey: (index) => rows[index]?.session_id ?? index,
    overscan: 8,
  });
  const visible = virtual.getVirtualItems();
  const last = visible.at(-1)?.index ?? 0;
  useEffect(() => {
    if (state.hasMore && last >= rows.length - 10) void chat.sessions.more();
  }, [chat, state.hasMore, last, rows.length]);

  return (
    <nav className="sidebar" aria-label={t("sessions")}>
      <div className="sidebar-head">
        <button type="button" className="primary new" onClick={() => onOpen(null)}>
          <Icon name="plus" />
          <span>{t("session.new")}</span>
        </button>
      </div>
      <div className="search">
        <Icon name="search" size={16} />
        <input
          id="search"
          type="search"
          value={q}
          placeholder={t("session.search")}
          aria-label={t("session.search")}
          onChange={(event) => setQ(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape" || !q) return;
            event.stopPropagation();
            setQ("");
          }}
        />
        <Menu
          label={t("filter.label", { name: t(`filter.${status || "all"}` as "filter.all") })}
          button={<span className={status ? "filter on" : "filter"}>{t(`filter.${status || "all"}` as "filter.all")}</span>}
          className="quiet small"
          choices={FILTERS.map((one) => ({
            key: one,
            label: t(`filter.${one || "all"}` as "filter.all"),
            checked: one === status,
            onChoose: () => setStatus(one),
          }))}
        />
      </div>
      <div className="session-list" ref={scroller} tabIndex={-1}>
        <ul style={{ height: virtual.getTotalSize() }}>
          {visible.map(({ index, key, start }) => {
            const session = rows[index]!;
            return (
              <li key={key} style={{ transform: `translateY(${start}px)` }}>
                <SessionRow session={session} current={session.session_id === current} onOpen={onOpen} />
              </li>
            );
          })}
        </ul>
        {state.loading && !rows.length ? <p className="hint">{t("loading")}</p> : null}
        {state.loaded && !rows.length && !state.loading ? <p className="hint">{t(q || status ? "session.none_found" : "session.none")}</p> : null}
        {state.failed ? (
          <p className="hint">
            {t("session.failed")}{" "}
            <button type="button" onClick={() => void chat.sessions.refresh()}>
              {t("again")}
            </button>
          </p>
        ) : null}
      </div>
    </nav>
  );
}
