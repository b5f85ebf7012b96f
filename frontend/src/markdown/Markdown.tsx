/** A text in Markdown, whole or while it is written. */

import type { MarkedToken } from "marked";
import { memo, useState } from "react";
import { type Block, Blocks } from "./blocks";
import { render } from "./render";

const BlockView = memo(function BlockView({ block }: { block: Block }) {
  return <>{render(block.token as MarkedToken, 0)}</>;
});

interface Props {
  text: string;
  /** A person's single line breaks are meant. */
  breaks?: boolean;
  writing?: boolean;
}

export const Markdown = memo(function Markdown({ text, breaks = false, writing = false }: Props) {
  const [blocks] = useState(() => new Blocks(breaks));
  return (
    <div className={writing ? "prose writing" : "prose"} dir="auto">
      {blocks.of(text).map((block, index) => (
        <BlockView key={index} block={block} />
      ))}
    </div>
  );
});
