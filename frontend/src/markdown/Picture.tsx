/** A picture in a text. One from elsewhere is never fetched: it could carry away what the text was told. */

import { createContext, useContext } from "react";
import { useWords } from "../i18n";
import { Icon } from "../ui/Icon";
import { safeLink, safePicture } from "./safe";

/** Whether a link is around: a link in a link is none. */
export const InLink = createContext(false);

export function Picture({ address, alt }: { address: string; alt: string }) {
  const { t } = useWords();
  const inLink = useContext(InLink);
  const inside = safePicture(address);
  if (inside) return <img className="picture" src={inside} alt={alt} />;
  const link = safeLink(address);
  if (!link || inLink || link.href.startsWith("mailto:")) return <span className="no-picture">{alt || t("picture.none")}</span>;
  return (
    <a className="no-picture" href={link.href} target="_blank" rel="noopener noreferrer nofollow" title={link.href}>
      <Icon name="image" />
      <span>{alt || t("picture.none")}</span>
      <small>{t("picture.open", { host: link.to })}</small>
    </a>
  );
}
