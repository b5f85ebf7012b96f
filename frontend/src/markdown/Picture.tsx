/** A picture in a text. One from elsewhere is fetched only on a click: it could carry away what the text was told. */

import { createContext, useContext, useState } from "react";
import { useWords } from "../i18n";
import { Icon } from "../ui/Icon";
import { safeLink, safePicture } from "./safe";

/** Whether a link is around: a link in a link is none. */
export const InLink = createContext(false);

export function Picture({ address, alt }: { address: string; alt: string }) {
  const { t } = useWords();
  const inLink = useContext(InLink);
  const [shown, setShown] = useState(""); // an address that still grows is another one
  const inside = safePicture(address);
  if (inside) return <img className="picture" src={inside} alt={alt} />;
  const link = safeLink(address);
  if (!link || inLink || link.href.startsWith("mailto:")) return <span className="no-picture">{alt || t("picture.none")}</span>;
  if (shown === link.href) {
    // In a page of its own (chat/api/picture.py), which may load from that host alone: ours may load from none.
    const src = `/picture/?address=${encodeURIComponent(link.href)}`;
    return <iframe className="picture-frame" sandbox="" referrerPolicy="no-referrer" title={alt || t("picture.none")} src={src} />;
  }
  return (
    <span className="no-picture">
      <Icon name="image" />
      <span>{alt || t("picture.none")}</span>
      <button type="button" onClick={() => setShown(link.href)}>
        {t("picture.load")}
      </button>
      <a href={link.href} target="_blank" rel="noopener noreferrer nofollow" title={link.href}>
        {t("picture.open", { host: link.to })}
      </a>
    </span>
  );
}
