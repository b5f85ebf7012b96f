/** About one session: who takes part, what it cost so far, and taking it along as a file. */

import { useEffect, useState } from "react";
import { useWorld } from "../app/context";
import type { MemberRow, OnBusy, Opened, Session } from "../client";
import { BUSY } from "../composer/Composer";
import { useWords } from "../i18n";
import { Avatar } from "../ui/Avatar";
import { money, number } from "../ui/format";
import { Icon } from "../ui/Icon";
import { useNotices } from "../ui/Notices";
import { straight } from "../ui/turning";
import { asJson, asMarkdown, fileName, save } from "./export";

export function SessionPanel({ opened, session }: { opened: Opened; session: Session }) {
  const { chat } = useWorld();
  const { t, tag } = useWords();
  const { attempt } = useNotices();
  const [members, setMembers] = useState<readonly MemberRow[]>([]);
  const [busy, setBusy] = useState(false);
  const id = session.session_id;

  useEffect(() => {
    let here = true;
    chat.api.members(id).then(
      (page) => here && setMembers(page.results),
      () => undefined, // offline: the rest is worth showing all the same
    );
    return () => void (here = false);
  }, [chat, id]);

  const runs = [...opened.talk.runs.values()];
  const sum = (pick: (usage: (typeof runs)[number]["usage"]) => number) => runs.reduce((all, run) => all + pick(run.usage), 0);
  const cost = sum((usage) => usage.cost_usd);

  const take = async (kind: "md" | "json") => {
    setBusy(true);
    const rows = await attempt(chat.api.all(chat.api.messages(id, 200)));
    setBusy(false);
    if (!rows) return;
    const messages = rows.reverse();
    if (kind === "md") save(fileName(session, "md"), asMarkdown(session, messages, tag), "text/markdown");
    else save(fileName(session, "json"), asJson(session, messages), "application/json");
  };

  return (
    <div className="about">
      <dl>
        <div>
          <dt>{t("about.answers")}</dt>
          <dd>{number(runs.filter((run) => run.status === "succeeded").length, tag)}</dd>
        </div>
        <div>
          <dt>{t("about.tokens")}</dt>
          <dd>{number(sum((usage) => usage.input_tokens + usage.output_tokens), tag)}</dd>
        </div>
        {cost > 0 ? (
          <div>
            <dt>{t("about.cost")}</dt>
            <dd>{money(cost, tag)}</dd>
          </div>
        ) : null}
      </dl>
      {opened.olderRuns ? <p className="hint">{t("about.part")}</p> : null}
      {session.my_role !== "viewer" ? (
        <>
          <h3 id="on-busy">{t("busy.session")}</h3>
          <select
            aria-labelledby="on-busy"
            value={session.on_busy}
            onChange={(event) => void attempt(chat.changeSession(id, { on_busy: event.target.value as OnBusy }))}
          >
            {[...new Set([...BUSY, session.on_busy])].map((mode) => (
              <option key={mode} value={mode}>
                {mode === "reject" ? mode : `${t(`busy.${mode}`)}: ${t(`busy.${mode}.hint`)}`}
              </option>
            ))}
          </select>
        </>
      ) : null}
      <h3>{t("about.members")}</h3>
      <ul className="members">
        {members.map((member) => (
          <li key={member.user_id}>
            <Avatar author={{ name: member.username, title: member.name, avatar: "", color: "" }} small />
            <span>{straight(member.name || member.username)}</span>
            <small>{t(`role.${member.role}` as "role.owner")}</small>
          </li>
        ))}
      </ul>
      <h3>{t("export")}</h3>
      <div className="buttons">
        <button type="button" disabled={busy} onClick={() => void take("md")}>
          <Icon name="download" size={15} />
          Markdown
        </button>
        <button type="button" disabled={busy} onClick={() => void take("json")}>
          <Icon name="download" size={15} />
          JSON
        </button>
      </div>
    </div>
  );
}
