/** One row of a thread, by its kind. */

import { memo } from "react";
import { useNow } from "../app/context";
import type { Talk } from "../client";
import { useWords } from "../i18n";
import { dayName } from "../ui/format";
import { Answer } from "./Answer";
import { Asked, UnsentMessage } from "./Asked";
import { Footer } from "./Footer";
import type { Item } from "./items";
import { Notice } from "./Notice";
import { Pending } from "./Pending";
import { Question } from "./Question";
import { Tool } from "./Tool";

interface Props {
  item: Item;
  sessionId: string;
  talk: Talk;
}

export const Row = memo(
  function Row({ item, sessionId, talk }: Props) {
    switch (item.kind) {
      case "day":
        return <Day at={item.at} />;
      case "asked":
        return <Asked message={item.message} />;
      case "answer":
        return <Answer item={item} sessionId={sessionId} thoughts={talk.thoughts.get(item.messageId)} />;
      case "tool":
        return <Tool item={item} />;
      case "notice":
        return <Notice message={item.message} />;
      case "pending":
        return <Pending item={item} />;
      case "question":
        return <Question interrupt={item.interrupt} />;
      case "footer":
        return <Footer item={item} talk={talk} />;
      case "unsent":
        return <UnsentMessage unsent={item.unsent} />;
    }
  },
  (before, after) => before.talk === after.talk && sameItem(before.item, after.item),
);

const LOOK_EVERY_MS = 10_000;

/** Its name changes at midnight, when nothing else here does. */
function Day({ at }: { at: string }) {
  const { tag } = useWords();
  const now = useNow(LOOK_EVERY_MS);
  return (
    <div className="day">
      <span>{dayName(at, tag, new Date(now))}</span>
    </div>
  );
}

/** Items are made anew each time; what they show is compared. */
function sameItem(one: Item, other: Item): boolean {
  const keys = Object.keys(other) as (keyof Item)[];
  return (
    keys.length === Object.keys(one).length &&
    keys.every((key) => one[key] === other[key] || sameList(one[key], other[key]))
  );
}

function sameList(one: unknown, other: unknown): boolean {
  return Array.isArray(one) && Array.isArray(other) && one.length === other.length && one.every((v, i) => v === other[i]);
}
