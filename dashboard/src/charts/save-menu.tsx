import * as Popover from "@radix-ui/react-popover";
import { useState, type RefObject } from "react";

import { DownloadIcon } from "../ui/icons";
import type { Format } from "./caption";

interface SaveMenuProps {
  title: string;
  note: string;
  source: string;
  /** What holds the drawing. */
  chart: RefObject<HTMLElement | null>;
  /** There is no drawing now. */
  disabled: boolean;
}

const FORMATS: readonly { format: Format; name: string; use: string }[] = [
  { format: "png", name: "PNG", use: "for slides and mail" },
  { format: "svg", name: "SVG", use: "for print and papers" },
];

/** Saves a chart as a picture; its code is loaded when it is first used. */
export function SaveMenu({ title, note, source, chart, disabled }: SaveMenuProps) {
  const [open, setOpen] = useState(false);
  const [said, setSaid] = useState("");

  async function saveAs(format: Format) {
    const drawing = chart.current?.querySelector<SVGSVGElement>(".chart-drawing");
    if (!drawing) return;
    setOpen(false);
    try {
      const { save } = await import("./picture");
      setSaid(`Saved as ${await save(drawing, { title, note, source, at: new Date() }, format)}`);
    } catch {
      setSaid(`The picture of ${title} could not be saved. Try again.`);
    }
  }

  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger className="button small" disabled={disabled}>
        <DownloadIcon />
        Save<span className="sr-only"> {title} as a picture</span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="picker-list save-list"
          aria-label={`Save ${title} as a picture`}
          sideOffset={6}
          align="end"
          collisionPadding={12}
        >
          <ul>
            {FORMATS.map(({ format, name, use }) => (
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
