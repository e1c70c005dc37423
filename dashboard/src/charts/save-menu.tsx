import * as Popover from "@radix-ui/react-popover";
import { useState, type RefObject } from "react";

import { DownloadIcon } from "../ui/icons";
import type { Format } from "./caption";
import type { TableModel } from "./chart-card";

interface SaveMenuProps {
  title: string;
  note: string;
  source: string;
  /** What holds the drawing. */
  chart: RefObject<HTMLElement | null>;
  /** The same figures as rows. */
  table: TableModel;
  /** There is a drawing now; else only the table can be saved. */
  drawn: boolean;
}

const FORMATS: readonly { format: Format | "csv"; name: string; use: string }[] = [
  { format: "png", name: "PNG", use: "for slides and mail" },
  { format: "svg", name: "SVG", use: "for print and papers" },
  { format: "csv", name: "CSV", use: "the figures as shown" },
];

/** Saves a chart as a picture or as a table; the code for that is loaded when it is first used. */
export function SaveMenu({ title, note, source, chart, table, drawn }: SaveMenuProps) {
  const [open, setOpen] = useState(false);
  const [said, setSaid] = useState("");

  async function saveAs(format: Format | "csv") {
    const caption = { title, note, source, at: new Date() };
    setOpen(false);
    try {
      if (format === "csv") {
        const { saveTable } = await import("./table-csv");
        setSaid(`Saved as ${saveTable(table, caption)}`);
        return;
      }
      const drawing = chart.current?.querySelector<SVGSVGElement>(".chart-drawing");
      if (!drawing) return;
      const { save } = await import("./picture");
      setSaid(`Saved as ${await save(drawing, caption, format)}`);
    } catch {
      setSaid(`${title} could not be saved. Try again.`);
    }
  }

  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger className="button small">
        <DownloadIcon />
        Save<span className="sr-only"> {title} as a picture or a table</span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="picker-list save-list"
          aria-label={`Save ${title}`}
          sideOffset={6}
          align="end"
          collisionPadding={12}
        >
          <ul>
            {FORMATS.filter(({ format }) => drawn || format === "csv").map(({ format, name, use }) => (
              <li key={format}>
                <button type="button" className="save-item" onClick={() => void saveAs(format)}>
                  {name} <small>{use}</small>
                </button>
              </li>
            ))}
          </ul>
        </Popover.Content>
      </Popover.Portal>
      <span className="sr-only" role="status">
        {said}
      </span>
    </Popover.Root>
  );
}
