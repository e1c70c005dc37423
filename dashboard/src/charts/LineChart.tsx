import { scaleLinear } from "d3-scale";
import { line } from "d3-shape";
import { useId, useState, type KeyboardEvent, type PointerEvent } from "react";

export interface Line {
  name: string;
  className: string;
  rounds: number[];
  values: (number | null)[];
}

interface Props {
  title: string;
  subtitle: string;
  lines: Line[];
  lastRound: number;
  domain: [number, number];
  format: (value: number) => string;
  /** A value that no line may pass, and its name. */
  limit?: { value: number; name: string };
}

const WIDTH = 640;
const HEIGHT = 250;
const LEFT = 64;
const RIGHT = 92;
const TOP = 14;
const BOTTOM = 28;

/** Straight segments over a number axis of rounds; one unit; labels at the lines' ends; arrows move the crosshair. */
export function LineChart(props: Props) {
  const [round, setRound] = useState<number | null>(null);
  const [table, setTable] = useState(false);
  const heading = useId();
  const x = scaleLinear([0, Math.max(1, props.lastRound)], [LEFT, WIDTH - RIGHT]);
  const y = scaleLinear(props.domain, [HEIGHT - BOTTOM, TOP]);
  const rounds = [...new Set(props.lines.flatMap((each) => each.rounds))].sort((a, b) => a - b);
  const spoken = round === null ? "" : describe(props, round);

  const move = (event: KeyboardEvent): void => {
    const at = round === null ? rounds.length - 1 : rounds.indexOf(round);
    const steps: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: rounds.length - 1,
    };
    if (event.key === "Escape") setRound(null);
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setRound(rounds[Math.max(0, Math.min(rounds.length - 1, next))] ?? null);
  };
  const point = (event: PointerEvent<SVGSVGElement>): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = x.invert(((event.clientX - box.left) / box.width) * WIDTH);
    const nearest = rounds.reduce<number | null>(
      (best, each) => (best === null || Math.abs(each - at) < Math.abs(best - at) ? each : best),
      null,
    );
    setRound(nearest);
  };

  return (
    <section className="card chart-card" aria-labelledby={heading}>
      <header className="card-head">
        <div>
          <h2 id={heading}>{props.title}</h2>
          <p className="muted">{props.subtitle}</p>
        </div>
        <button
          type="button"
          className="button small"
          aria-pressed={table}
          aria-label={`${props.title} as a table`}
          onClick={() => {
            setTable(!table);
          }}
        >
          Table
        </button>
      </header>
      {table ? (
        <Table {...props} rounds={rounds} />
      ) : (
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          role="img"
          tabIndex={0}
          aria-label={`${props.title}. ${describe(props, rounds.at(-1) ?? 0)}. Arrow keys move through the rounds.`}
          onKeyDown={move}
          onPointerMove={point}
          onPointerLeave={() => {
            setRound(null);
          }}
        >
          {y.ticks(5).map((tick) => (
            <g key={tick}>
              <line className="gridline" x1={LEFT} x2={WIDTH - RIGHT} y1={y(tick)} y2={y(tick)} />
              <text className="tick" x={LEFT - 10} y={y(tick)} dy="0.35em" textAnchor="end">
                {props.format(tick)}
              </text>
            </g>
          ))}
          {x.ticks(Math.min(props.lastRound, 8)).map((tick) => (
            <text key={tick} className="tick" x={x(tick)} y={HEIGHT - 8} textAnchor="middle">
              {tick}
            </text>
          ))}
          {props.limit && (
            <g className="limit">
              <line x1={LEFT} x2={WIDTH - RIGHT} y1={y(props.limit.value)} y2={y(props.limit.value)} />
              <text x={WIDTH - RIGHT} y={y(props.limit.value) - 6} textAnchor="end">
                {props.limit.name}
              </text>
            </g>
          )}
          {props.lines.map((each) => (
            <Drawn key={each.name} of={each} x={x} y={y} />
          ))}
          <Labels lines={props.lines} x={x} y={y} />
          {round !== null && (
            <g className="crosshair">
              <line x1={x(round)} x2={x(round)} y1={TOP} y2={HEIGHT - BOTTOM} />
              {props.lines.map((each) => {
                const value = valueAt(each, round);
                return value === null ? null : (
                  <circle key={each.name} className={each.className} cx={x(round)} cy={y(value)} r={4} />
                );
              })}
            </g>
          )}
        </svg>
      )}
      <p className="reading" aria-live="polite">
        {spoken || "\u00a0"}
      </p>
    </section>
  );
}

type Scale = (value: number) => number;

function Drawn({ of, x, y }: { of: Line; x: Scale; y: Scale }) {
  const points = of.rounds.map((round, index) => ({ round, value: of.values[index] ?? null }));
  const path = line<{ round: number; value: number | null }>()
    .defined((point) => point.value !== null)
    .x((point) => x(point.round))
    .y((point) => y(point.value ?? 0))(points);
  return <path className={`line ${of.className}`} d={path ?? ""} />;
}

/** Names at the ends of lines, moved apart where they would touch. */
function Labels({ lines, x, y }: { lines: Line[]; x: Scale; y: Scale }) {
  const ends = lines
    .flatMap((each) => {
      const at = each.values.findLastIndex((value) => value !== null);
      const value = each.values[at];
      return at < 0 || value == null ? [] : [{ each, x: x(each.rounds[at] ?? 0), y: y(value) }];
    })
    .sort((a, b) => a.y - b.y);
  let lowest = -Infinity;
  return ends.map((end) => {
    lowest = Math.max(end.y, lowest + 15);
    return (
      <text
        key={end.each.name}
        className={`label ${end.each.className}`}
        x={end.x + 8}
        y={lowest}
        dy="0.35em"
      >
        {end.each.name}
      </text>
    );
  });
}

function Table(props: Props & { rounds: number[] }) {
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={`${props.title}, values`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Round</th>
            {props.lines.map((each) => (
              <th key={each.name} scope="col" className="number">
                {each.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rounds.map((round) => (
            <tr key={round}>
              <th scope="row">{round}</th>
              {props.lines.map((each) => {
                const value = valueAt(each, round);
                return (
                  <td key={each.name} className="number">
                    {value === null ? "–" : props.format(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function valueAt(of: Line, round: number): number | null {
  return of.values[of.rounds.indexOf(round)] ?? null;
}

function describe(props: Props, round: number): string {
  const values = props.lines.map((each) => {
    const value = valueAt(each, round);
    return `${each.name} ${value === null ? "–" : props.format(value)}`;
  });
  return `Round ${round}: ${values.join(", ")}`;
}
