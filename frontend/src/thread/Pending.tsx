/** An answer that has nothing to show yet; and what a lost attempt had shown, until it has. */

import { useAgents } from "../app/context";
import type { Author } from "../client";
import { Markdown } from "../markdown/Markdown";
import { Dots, Face, Restarted } from "./Answer";
import type { Item } from "./items";

export function Pending({ item }: { item: Extract<Item, { kind: "pending" }> }) {
  const { run, broken } = item;
  const agent = useAgents().find((one) => one.name === run.agent);
  const author: Author = broken?.author ?? {
    kind: "agent",
    name: run.agent,
    title: agent?.title ?? "",
    avatar: agent?.avatar ?? "",
    color: agent?.color ?? "",
  };
  return (
    <article className="answer pending" data-run-id={run.run_id} aria-busy="true">
      {item.first ? <Face author={author} /> : null}
      <div className="said">
        {broken ? (
          <>
            <Restarted reason={broken.reason} />
            {broken.text ? (
              <div className="void" aria-hidden="true">
                <Markdown text={broken.text} />
              </div>
            ) : null}
          </>
        ) : null}
        <Dots />
      </div>
    </article>
  );
}
