/** Who answers, and with which language model. */

import { useWorld } from "../app/context";
import type { Agent } from "../client";
import { useWords } from "../i18n";
import { Avatar } from "../ui/Avatar";
import { Icon } from "../ui/Icon";
import { Menu } from "../ui/Menu";

interface Props {
  value: string;
  onChoose: (value: string) => void;
  disabled: boolean;
}

export function AgentPicker({ agents, value, onChoose, disabled }: Props & { agents: readonly Agent[] }) {
  const { t } = useWords();
  const agent = agents.find((one) => one.name === value);
  if (agents.length < 2) return null; // nothing to choose
  const shown = agent ?? { name: value, title: "", avatar: "", color: "" };
  return (
    <Menu
      label={t("agent.choose", { name: shown.title || shown.name })}
      className="quiet small picker"
      side="up"
      align="start"
      disabled={disabled}
      button={
        <>
          <Avatar author={shown} small />
          <span>{shown.title || shown.name}</span>
          <Icon name="chevron" size={13} />
        </>
      }
      choices={agents
        .filter((one) => one.enabled)
        .map((one) => ({
          key: one.name,
          label: one.title || one.name,
          hint: `@${one.name}`,
          icon: <Avatar author={one} small />,
          checked: one.name === value,
          onChoose: () => onChoose(one.name),
        }))}
    />
  );
}

export function LlmPicker({ value, onChoose, disabled }: Props) {
  const { boot } = useWorld();
  const { t } = useWords();
  if (boot.llms.length < 2) return null;
  const [usual = "", ...others] = boot.llms;
  const choices = [{ key: "", label: t("llm.default"), hint: usual }, ...others.map((name) => ({ key: name, label: name }))];
  return (
    <Menu
      label={t("llm.choose", { name: value || t("llm.default") })}
      className="quiet small picker"
      side="up"
      align="start"
      disabled={disabled}
      button={
        <>
          <Icon name="spark" size={14} />
          <span>{value || t("llm.default")}</span>
          <Icon name="chevron" size={13} />
        </>
      }
      choices={choices.map((one) => ({ ...one, checked: one.key === value, onChoose: () => onChoose(one.key) }))}
    />
  );
}
