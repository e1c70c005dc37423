import type { MouseEvent, ReactNode } from "react";

import { linkTo, navigate, type View } from "../api/view";

interface ViewLinkProps {
  view: View;
  /** This is what is shown now. */
  current?: boolean | "page";
  className?: string;
  /** Going back skips this step. */
  replace?: boolean;
  onGo?: () => void;
  children: ReactNode;
}

/** A link to a view of this page: opens in place, or in a new tab for who asks for that. */
export function ViewLink({
  view,
  current = false,
  className,
  replace = false,
  onGo,
  children,
}: ViewLinkProps) {
  function go(event: MouseEvent) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    navigate(view, replace);
    onGo?.();
  }
  return (
    <a href={linkTo(view)} className={className} aria-current={current || undefined} onClick={go}>
      {children}
    </a>
  );
}
