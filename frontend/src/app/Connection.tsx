/** Whether there is a connection, and what one can do where there is none. */

import { useEffect, useState } from "react";
import { CLOSED } from "../client";
import { type Key, useWords } from "../i18n";
import { Icon } from "../ui/Icon";
import { useNow, useTopic, useWorld } from "./context";
import { pathOf, sessionOf } from "./route";

const PATIENCE_MS = 1200; // a short gap is nobody's concern

/** Where the server said why it closed, and one can do something about it, or need not. */
const REASONS: Record<number, Key> = {
  [CLOSED.restart]: "connection.restart",
  [CLOSED.tooMany]: "error.too_many_connections",
};

export function ConnectionBanner() {
  const { boot, chat } = useWorld();
  const { t } = useWords();
  useTopic("connection");
  const { status, code, nextTryAt } = chat.connection.state;
  const [shown, setShown] = useState(false);
  const away = status !== "online";
  const final = status === "signed_out" || status === "refused";
  useEffect(() => {
    if (!away) return setShown(false);
    const timer = setTimeout(() => setShown(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [away]);
  if (!away || !(shown || final)) return null;
  if (chat.connection.over) {
    return (
      <div className="banner" role="alert">
        <Icon name="warn" />
        <span>{t("connection.other_user")}</span>
        <button type="button" onClick={() => location.reload()}>
          {t("broken.reload")}
        </button>
      </div>
    );
  }
  if (status === "signed_out") {
    const back = `${boot.sign_in_url}?next=${encodeURIComponent(pathOf(sessionOf(location.pathname)))}`;
    return (
      <div className="banner" role="alert">
        <Icon name="warn" />
        <span>{t("connection.signed_out")}</span>
        <a className="button" href={back}>
          {t("connection.sign_in")}
        </a>
      </div>
    );
  }
  if (status === "refused") {
    return (
      <div className="banner" role="alert">
        <Icon name="warn" />
        <span>{t("connection.refused")}</span>
      </div>
    );
  }
  return (
    <div className="banner" role="status">
      <Icon name="offline" />
      <span>
        {t(REASONS[code] ?? "connection.lost")} {nextTryAt ? <NextTry at={nextTryAt} /> : t("connection.trying")}
      </span>
      <button type="button" onClick={() => chat.connection.start()}>
        {t("connection.now")}
      </button>
    </div>
  );
}

function NextTry({ at }: { at: number }) {
  const { t } = useWords();
  const now = useNow(1000);
  const left = Math.max(Math.ceil((at - now) / 1000), 0);
  // A number that changes each second is not for a screen reader.
  return <span aria-hidden="true">{left ? t("connection.next", { count: left }) : t("connection.trying")}</span>;
}

export function ConnectionSign() {
  const { chat } = useWorld();
  const { t } = useWords();
  useTopic("connection");
  const { status } = chat.connection.state;
  const name = t(status === "online" ? "connection.online" : status === "connecting" ? "connection.trying" : "connection.offline");
  return <span className="connection" data-status={status} role="img" aria-label={name} title={name} />;
}
