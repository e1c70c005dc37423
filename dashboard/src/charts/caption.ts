/** What is written on a saved picture, and the names of what is saved. */

export interface Caption {
  title: string;
  note: string;
  /** Where the figures are from: "fedpriv, run breast-cancer 01KE…". */
  source: string;
  at: Date;
}

export type Format = "svg" | "png";

/** A name that sorts by time: "fedpriv_20260105T090000Z_privacy-budget-used.png". */
export function fileName({ title, at }: Caption, format: Format | "csv"): string {
  const time = at.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const name = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
  return `fedpriv_${time}_${name}.${format}`;
}

/** Words in lines of at most `width` pixels; a word that is wider has a line of its own. */
export function wrapped(text: string, width: number, measure: (text: string) => number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && measure(`${last} ${word}`) <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
