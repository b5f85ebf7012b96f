/** Short notices: what went wrong with something that was asked for. They are read out, and go by themselves. */

import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from "react";
import { useWords } from "../i18n";
import { Icon } from "./Icon";
import { useProblemText } from "./problems";

interface Notice {
  id: number;
  text: string;
}

interface Board {
  tell: (text: string) => void;
  /** Wait for something that may fail, and tell when it does. */
  attempt: <T>(work: Promise<T>) => Promise<T | undefined>;
}

const STAYS_MS = 6000;
const BoardContext = createContext<Board | null>(null);
let numbers = 0;

export function useNotices(): Board {
  const board = useContext(BoardContext);
  if (!board) throw new Error("There is no board around this.");
  return board;
}

export function Notices({ children }: { children: ReactNode }) {
  const { t } = useWords();
  const [notices, setNotices] = useState<readonly Notice[]>([]);
  const textOf = useProblemText();
  const drop = (id: number) => setNotices((all) => all.filter((one) => one.id !== id));
  const tell = useCallback((text: string) => {
    const id = ++numbers;
    setNotices((all) => [...all.filter((one) => one.text !== text).slice(-2), { id, text }]);
    setTimeout(() => drop(id), STAYS_MS);
  }, []);
  const board = useMemo<Board>(
    () => ({
      tell,
      attempt: (work) =>
        work.catch((problem: unknown) => {
          tell(textOf(problem));
          return undefined;
        }),
    }),
    [tell, textOf],
  );
  return (
    <BoardContext.Provider value={board}>
      {children}
      <div className="notices" role="status" aria-live="polite">
        {notices.map((notice) => (
          <div key={notice.id} className="notice">
            <Icon name="info" />
            <span>{notice.text}</span>
            <button type="button" className="quiet icon-only" aria-label={t("close")} onClick={() => drop(notice.id)}>
              <Icon name="close" size={14} />
            </button>
          </div>
        ))}
      </div>
    </BoardContext.Provider>
  );
}
