/** One's own things: theme, language, keys, signing out. */

import { useState } from "react";
import { LANGUAGES, type Language, useWords } from "../i18n";
import { Avatar } from "../ui/Avatar";
import { Dialog } from "../ui/Dialog";
import { Icon, type IconName } from "../ui/Icon";
import { type Choice, Menu } from "../ui/Menu";
import { useNotices } from "../ui/Notices";
import { endSession } from "./boot";
import { useTopic, useWorld } from "./context";
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
  const [asking, setAsking] = useState(false);
  const { attempt } = useNotices();
  useTopic("outbox");
  const name = boot.user?.name || boot.user?.username || "";
  const next = THEMES[(THEMES.findIndex(([one]) => one === theme) + 1) % THEMES.length]!;
  const other: Language = language === "en" ? "zh" : "en";
  const icon = (one: IconName) => <Icon name={one} size={16} />;

  const unsent = chat.outbox.items.filter((item) => !item.sent).length;
  const signOut = async () => {
    setAsking(false);
    if (!(await attempt(endSession(boot).then(() => true)))) return;
    chat.stop();
    forgetUser(userId);
    location.assign(boot.sign_in_url);
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
  choices.push({ key: "out", label: t("sign_out"), icon: icon("signout"), onChoose: () => (unsent ? setAsking(true) : void signOut()) });
  return (
    <>
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
      {asking ? (
        <Dialog title={t("sign_out")} onClose={() => setAsking(false)}>
          <p>{t("sign_out.unsent", { count: unsent })}</p>
          <div className="buttons">
            <button type="button" className="danger" onClick={() => void signOut()}>
              {t("sign_out.anyway")}
            </button>
            <button type="button" onClick={() => setAsking(false)}>
              {t("cancel")}
            </button>
          </div>
        </Dialog>
      ) : null}
    </>
  );
}
