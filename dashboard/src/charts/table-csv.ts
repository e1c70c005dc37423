/** A chart's table as a file: the figures as they are shown. A run's export has every digit. */
import { saveFile } from "../ui/save-file";
import { fileName, type Caption } from "./caption";
import type { TableModel } from "./chart-card";

/** RFC 4180; a cell that a spreadsheet would take for a formula is marked as text. */
export function tableCsv({ columns, rows }: TableModel): string {
  return [columns, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function cell(text: string): string {
  const safe = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Saves the table and says under which name. */
export function saveTable(table: TableModel, caption: Caption): string {
  const name = fileName(caption, "csv");
  saveFile(name, new Blob([tableCsv(table)], { type: "text/csv" }));
  return name;
}
