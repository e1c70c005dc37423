import { useId, type ReactNode } from "react";

interface CardProps {
  title: string;
  note?: ReactNode;
  action?: ReactNode;
  className?: string;
  children: ReactNode;
}

/** A titled part of the page; a landmark by its title. */
export function Card({ title, note, action, className = "", children }: CardProps) {
  const heading = useId();
  return (
    <section className={`card ${className}`} aria-labelledby={heading}>
      <header className="card-header">
        <div>
          <h2 id={heading}>{title}</h2>
          {note && <p className="note">{note}</p>}
        </div>
        {action}
      </header>
      {children}
    </section>
  );
}
