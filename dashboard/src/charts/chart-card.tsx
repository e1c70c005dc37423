import { useId, useState, type ReactNode } from "react";

import { Card } from "../ui/card";
import type { ChartModel } from "./model";
import { CHART_HEIGHT, RoundChart } from "./round-chart";

/** The same figures as rows, newest round first. */
export interface TableModel {
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

interface ChartCardProps {
  title: string;
  note: ReactNode;
  model: ChartModel;
  table: TableModel;
  /** Stands in the chart's place while there is nothing to draw. */
  empty: ReactNode | null;
}

/** A chart with its title, and its figures as a table for who prefers to read them. */
export function ChartCard({ title, note, model, table, empty }: ChartCardProps) {
  const [asTable, setAsTable] = useState(false);
  const body = useId();
  return (
    <Card
      title={title}
      note={note}
      action={
        !empty && (
          <button
            type="button"
            className="button small"
            aria-pressed={asTable}
            aria-controls={body}
            onClick={() => {
              setAsTable(!asTable);
            }}
          >
            Table<span className="sr-only"> of {title}</span>
          </button>
        )
      }
    >
      <div id={body} className="chart-body">
        {empty ? (
          <div className="chart-empty" style={{ height: CHART_HEIGHT }}>
            {empty}
          </div>
        ) : asTable ? (
          <FigureTable title={title} table={table} />
        ) : (
          <RoundChart model={model} />
        )}
      </div>
    </Card>
  );
}

function FigureTable({ title, table }: { title: string; table: TableModel }) {
  return (
    <div
      className="figure-table"
      role="region"
      aria-label={`${title}, table`}
      tabIndex={0}
      style={{ height: CHART_HEIGHT }}
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
          {table.rows.map((row) => (
            <tr key={row[0]}>
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
