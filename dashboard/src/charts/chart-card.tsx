import { useId, useRef, useState, type ReactNode } from "react";

import { Card } from "../ui/card";
import type { ChartModel } from "./model";
import { CHART_HEIGHT, RoundChart } from "./round-chart";
import { SaveMenu } from "./save-menu";

/** The same figures as rows, newest round first. */
export interface TableModel {
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

interface ChartFrameProps {
  title: string;
  note: string;
  table: TableModel;
  /** Stands in the chart's place while there is nothing to draw. */
  empty: ReactNode | null;
  /** Said below a saved picture; the page's title where it is left out. */
  source?: string;
  /** Further buttons beside Table. */
  actions?: ReactNode;
  height?: number;
  className?: string;
  children: ReactNode;
}

/** The card of a chart: its title, its figures as a table for who prefers to read them, and its picture to save. */
export function ChartFrame({
  title,
  note,
  table,
  empty,
  source,
  actions,
  height = CHART_HEIGHT,
  className,
  children,
}: ChartFrameProps) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  const body = useRef<HTMLDivElement>(null);
  return (
    <Card
      title={title}
      note={note}
      {...(className ? { className } : {})}
      action={
        !empty && (
          <div className="chart-actions">
            {actions}
            <button
              type="button"
              className="button small"
              aria-pressed={asTable}
              aria-controls={id}
              onClick={() => {
                setAsTable(!asTable);
              }}
            >
              Table<span className="sr-only"> of {title}</span>
            </button>
            <SaveMenu
              title={title}
              note={note}
              source={source ?? document.title}
              chart={body}
              table={table}
              drawn={!asTable}
            />
          </div>
        )
      }
    >
      <div id={id} className="chart-body" ref={body}>
        {empty ? (
          <div className="chart-empty" style={{ height }}>
            {empty}
          </div>
        ) : asTable ? (
          <FigureTable title={title} table={table} height={height} />
        ) : (
          children
        )}
      </div>
    </Card>
  );
}

/** A chart over rounds in its card. */
export function ChartCard({ model, ...rest }: Omit<ChartFrameProps, "children"> & { model: ChartModel }) {
  return (
    <ChartFrame {...rest}>
      <RoundChart model={model} />
    </ChartFrame>
  );
}

function FigureTable({ title, table, height }: { title: string; table: TableModel; height: number }) {
  return (
    <div
      className="figure-table"
      role="region"
      aria-label={`${title}, table`}
      tabIndex={0}
      style={{ height }}
    >
      <table>
        <thead>
          <tr>
            {table.columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, place) => (
            <tr key={`${place} ${row[0] ?? ""}`}>
              {row.map((cell, index) =>
                index === 0 ? (
                  <th key={table.columns[index]} scope="row">
                    {cell}
                  </th>
                ) : (
                  <td key={table.columns[index]}>{cell}</td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
