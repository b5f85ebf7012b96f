/** Keeps what fails while it is drawn to its own place: without it React takes the whole page away. */

import { Component, type ReactNode } from "react";
import { useWords } from "../i18n";
import { Icon } from "./Icon";

interface Props {
  /** Shown in place of what failed. */
  broken: ReactNode;
  /** What is drawn: another one is tried anew. */
  of?: unknown;
  children: ReactNode;
}

export class Boundary extends Component<Props, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override componentDidUpdate(before: Props): void {
    if (this.state.failed && before.of !== this.props.of) this.setState({ failed: false });
  }

  override render(): ReactNode {
    return this.state.failed ? this.props.broken : this.props.children;
  }
}

export function BrokenPart() {
  const { t } = useWords();
  return (
    <p className="hint" role="note">
      <Icon name="warn" size={15} /> {t("broken.part")}
    </p>
  );
}

export function BrokenPage() {
  const { t } = useWords();
  return (
    <main className="empty" role="alert">
      <h1>{t("broken.page")}</h1>
      <p>{t("broken.page.text")}</p>
      <div className="buttons">
        <button type="button" className="primary" onClick={() => location.reload()}>
          {t("broken.reload")}
        </button>
      </div>
    </main>
  );
}
