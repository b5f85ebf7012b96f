/** One's own things: theme, language, keys, signing out. */

import { useState } from "react";
import { LANGUAGES, type Language, useWords } from "../i18n";
import { Avatar } from "../ui/Avatar";
import { Icon, type IconName } from "../ui/Icon";
import { type Choice, Menu } from "../ui/Menu";
import { cookie } from "./boot";
import { useWorld } from "./context";
import { forgetUser } from "./store";
import { readTheme, setTheme, type Theme } from "./theme";

const THEMES: readonly [Theme, IconName][] = [
  ["system", "screen"],
  ["light", "sun"],
  ["dark", "moon"],
];

export function UserMenu({ onLanguage, onHelp }: { onLanguage: (language: Language) => void; onHelp: () => void }) {
  const { boot, chat, userId } = useWorld();
  const { t, language } = useWords();
  const [theme, choose] = useState(() => readTheme(boot));
  const name = boot.user?.name || boot.user?.username || "";
  const next = THEMES[(THEMES.findIndex(([one]) => one === theme) + 1) % THEMES.length]!;
  const other: Language = language === "en" ? "zh" : "en";
  const icon = (one: IconName) => <Icon name={one} size={16} />;

  const signOut = () => {
    chat.stop();
    forgetUser(userId);
    const form = document.createElement("form");
    form.method = "post";
    form.action = boot.sign_out_url;
    const token = document.createElement("input");
    token.type = "hidden";
    token.name = "csrfmiddlewaretoken";
    token.value = cookie(boot.csrf_cookie);
    form.append(token);
    document.body.append(form);
    form.submit();
  };

  const leave = (url: string) => () => location.assign(url);
  const choices: Choice[] = [
    {
      key: "theme",
      label: t(`theme.${next[0]}` as "theme.dark"),
      icon: icon(next[1]),
      onChoose: () => {
        setTheme(boot, next[0]);
        choose(next[0]);
      },
    },
    { key: "language", label: LANGUAGES[other].name, icon: icon("language"), onChoose: () => onLanguage(other) },
    { key: "keys", label: t("keys"), icon: icon("keyboard"), onChoose: onHelp },
  ];
  if (boot.password_url) choices.push({ key: "password", label: t("password"), icon: icon("edit"), onChoose: leave(boot.password_url) });
  if (boot.about_url) choices.push({ key: "about", label: t("about.server"), icon: icon("info"), onChoose: leave(boot.about_url) });
  if (boot.user?.is_staff && boot.admin_url) choices.push({ key: "admin", label: t("admin"), icon: icon("admin"), onChoose: leave(boot.admin_url) });
  choices.push({ key: "out", label: t("sign_out"), icon: icon("signout"), onChoose: signOut });
  return (
    <Menu
      label={t("me", { name })}
      className="quiet me"
      side="up"
      align="start"
      button={
        <>
          <Avatar author={{ name: boot.user?.username ?? "", title: name, avatar: "", color: "" }} small />
          <span>{name}</span>
        </>
      }
      choices={choices}
    />
  );
}
