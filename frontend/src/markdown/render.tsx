/**
 * From Markdown's tokens to elements. This is the whole list of what a text may become: there is no HTML here that a
 * text could write, no attribute that it could name, and no address that it could have fetched.
 */

import type { MarkedToken, Token, Tokens } from "marked";
import type { ReactNode } from "react";
import { Code } from "./Code";
import { InLink, Picture } from "./Picture";
import { decodeEntities, safeLink } from "./safe";

export function renderAll(tokens: readonly Token[] | undefined): ReactNode[] {
  return (tokens ?? []).map((token, index) => render(token as MarkedToken, index));
}

export function render(token: MarkedToken, key: number): ReactNode {
  switch (token.type) {
    case "paragraph":
      return <p key={key}>{renderAll(token.tokens)}</p>;
    case "text":
      return "tokens" in token && token.tokens ? (
        <span key={key}>{renderAll(token.tokens)}</span>
      ) : (
        decodeEntities(token.text)
      );
    case "escape":
      return token.text;
    case "strong":
      return <strong key={key}>{renderAll(token.tokens)}</strong>;
    case "em":
      return <em key={key}>{renderAll(token.tokens)}</em>;
    case "del":
      return <del key={key}>{renderAll(token.tokens)}</del>;
    case "codespan":
      return <code key={key}>{decodeEntities(token.text)}</code>;
    case "br":
      return <br key={key} />;
    case "hr":
      return <hr key={key} />;
    case "code":
      return <Code key={key} code={token.text} language={token.lang ?? ""} />;
    case "heading":
      return heading(token as Tokens.Heading, key);
    case "blockquote":
      return <blockquote key={key}>{renderAll(token.tokens)}</blockquote>;
    case "list":
      return list(token as Tokens.List, key);
    case "table":
      return table(token as Tokens.Table, key);
    case "link":
      return link(token as Tokens.Link, key);
    case "image":
      return <Picture key={key} address={token.href} alt={decodeEntities(token.text)} />;
    case "checkbox":
      return <input key={key} type="checkbox" checked={token.checked} readOnly disabled aria-label={token.raw.trim()} />;
    case "space":
    case "def":
      return null;
    default:
      return token.raw; // HTML, and whatever a later version may call a token: shown as it was written
  }
}

/** All of one level below the page's own: an answer begins with any, and a heading must skip none. */
function heading(token: Tokens.Heading, key: number): ReactNode {
  return (
    <h3 key={key} data-depth={Math.min(token.depth, 4)}>
      {renderAll(token.tokens)}
    </h3>
  );
}

function list(token: Tokens.List, key: number): ReactNode {
  const items = token.items.map((item, index) => (
    <li key={index} className={item.task ? "task" : undefined}>
      {renderAll(item.tokens)}
    </li>
  ));
  if (!token.ordered) return <ul key={key}>{items}</ul>;
  return (
    <ol key={key} start={typeof token.start === "number" ? token.start : undefined}>
      {items}
    </ol>
  );
}

function table(token: Tokens.Table, key: number): ReactNode {
  const side = (index: number) => token.align[index] ?? undefined;
  return (
    <div key={key} className="table" tabIndex={0} role="group">
      <table>
        <thead>
          <tr>
            {token.header.map((cell, index) => (
              <th key={index} scope="col" data-side={side(index)}>
                {renderAll(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, number) => (
            <tr key={number}>
              {row.map((cell, index) => (
                <td key={index} data-side={side(index)}>
                  {renderAll(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function link(token: Tokens.Link, key: number): ReactNode {
  const safe = safeLink(token.href);
  const words = renderAll(token.tokens);
  if (!safe) return <span key={key}>{words}</span>;
  // Where the words do not say where it leads, the page does.
  const told = tells(token.text, safe.to);
  return (
    <a key={key} href={safe.href} target="_blank" rel="noopener noreferrer nofollow" title={safe.href}>
      {/* Each in its own direction: what the words are written with must not move the host. */}
      <bdi>
        <InLink.Provider value>{words}</InLink.Provider>
      </bdi>
      {told ? null : " "}
      {told ? null : <bdi className="leads-to">({safe.to})</bdi>}
    </a>
  );
}

/** Whether the words are the address itself, or begin with its very host. */
function tells(words: string, to: string): boolean {
  const begin = words.toLowerCase().replace(/^mailto:/, "");
  if (begin.startsWith(to.toLowerCase()) && !/^[\w.:@-]/.test(begin.slice(to.length))) return true;
  try {
    return new URL(words).host === to;
  } catch {
    return false;
  }
}
