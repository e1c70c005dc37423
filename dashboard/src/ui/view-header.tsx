import type { ReactNode } from "react";

interface ViewHeaderProps {
  title: string;
  /** One sentence: what this page answers. */
  note?: ReactNode;
  /** Filters and buttons of the whole page. */
  children?: ReactNode;
}

/** The head of a page that is not about one run: its only h1. */
export function ViewHeader({ title, note, children }: ViewHeaderProps) {
  return (
    <header className="view-header">
      <div>
        <h1>{title}</h1>
        {note && <p className="note">{note}</p>}
      </div>
      {children && <div className="view-actions">{children}</div>}
    </header>
  );
}
