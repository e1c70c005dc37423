"""The bench's figures as a table, as JSON, and in docs/benchmarks."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.bench.rounds.measure import p90
from tests.bench.rounds.plot import draw
from tests.bench.rounds.soak import DRIFT, Soak

BEGIN, END = "<!-- figures: written by `make bench-rounds` -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Row:
    """Rounds of one stack at so many sites. Processor time of the server is per round; memory is what is resident."""

    stack: str
    what: str
    sites: int
    rounds: int
    median_ms: float
    p90_ms: float
    server_cpu_ms: float | None = None
    server_mb: float | None = None
    site_mb: float | None = None

    @classmethod
    def of(cls, stack: str, what: str, sites: int, times_ms: Sequence[float]) -> Row:
        """From the time that each round took."""
        return cls(stack, what, sites, len(times_ms), statistics.median(times_ms), p90(times_ms))

    def with_costs(self, server_cpu_ms: float, server_mb: float, site_mb: float | None) -> Row:
        """With what the round cost the machine."""
        return replace(self, server_cpu_ms=server_cpu_ms, server_mb=server_mb, site_mb=site_mb)


@dataclass
class Figures:
    """Everything that a bench finds."""

    machine: dict[str, object]
    quick: bool
    took_s: float = 0.0
    rows: list[Row] = field(default_factory=list)
    #: How much longer a stock round takes; and its training alone, without the evaluation at the sites.
    ratio: float = 0.0
    ratio_training: float = 0.0
    default_runs_s: list[float] = field(default_factory=list)
    #: Median milliseconds of each step of a round, by what was run.
    steps: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Memory at its peak of the server and of the largest of three sites, MB.
    peak_mb: dict[str, float] = field(default_factory=dict)
    soak: Soak | None = None

    @property
    def busy(self) -> bool:
        """Whether the machine's cores had other work when the bench began."""
        return float(str(self.machine["busy_cores_at_start"])) > 0.1 * int(str(self.machine["cores"]))

    def row(self, what: str, sites: int, stack: str = "fedpriv") -> Row | None:
        """The row, if that was measured."""
        wanted = (stack, what, sites)
        return next((row for row in self.rows if (row.stack, row.what, row.sites) == wanted), None)


@dataclass(frozen=True)
class Line:
    """A line to reach."""

    what: str
    line: str
    measured: str
    met: bool


def lines(figures: Figures) -> Iterator[Line]:
    """The lines that were measured."""
    if row := figures.row("default", 3):
        yield _at_most("round, default recipe (31 parameters), 3 sites", row.median_ms, 60, "ms")
    if row := figures.row("seed model", 2):
        yield _at_most("round, seed's model, 2 sites, evaluated at the server", row.median_ms, 100, "ms")
    if figures.ratio:
        alone = f" ({figures.ratio_training:,.0f}× of its training alone)"
        yield Line("the same, stock over fedpriv", "≥ 150×", f"{figures.ratio:,.0f}×{alone}", figures.ratio >= 150)
    if figures.default_runs_s:
        median, largest = statistics.median(figures.default_runs_s), max(figures.default_runs_s)
        measured = f"{median:.1f} s (longest of {len(figures.default_runs_s)}: {largest:.1f} s)"
        yield Line("whole default run, from the command to all of it in S3", "≤ 5 s", measured, median <= 5)
    if row := figures.row("growth, light", 200):
        yield _at_most("round, 200 light sites", row.median_ms, 5000, "ms")
    if figures.peak_mb:
        yield _at_most("memory of the server at its peak", figures.peak_mb["server"], 250, "MB")
        yield _at_most("memory of a site at its peak", figures.peak_mb["site"], 550, "MB")
    if figures.soak:
        worst = max(figures.soak.growth.values())
        what = f"memory from round {figures.soak.rounds[0]} to {figures.soak.rounds[-1]}, of whom it grew most"
        yield Line(what, f"≤ +{DRIFT:.0%}", f"{worst:+.1%}", figures.soak.flat)


def _at_most(what: str, value: float, line: float, unit: str) -> Line:
    return Line(what, f"≤ {line:g} {unit}", f"{value:,.0f} {unit}", value <= line)


def table(figures: Figures) -> str:
    """All figures, in Markdown."""
    parts = ["| what | line | measured | |", "|---|---|---|---|"]
    parts += [
        f"| {each.what} | {each.line} | {each.measured} | {'met' if each.met else '**missed**'} |"
        for each in lines(figures)
    ]
    parts += ["", "| stack | rounds of | sites | rounds | median ms | p90 ms | server CPU ms | server MB | site MB |"]
    parts += ["|---|---|---|---|---|---|---|---|---|"]
    for row in figures.rows:
        costs = " | ".join(
            "" if each is None else f"{each:,.0f}" for each in (row.server_cpu_ms, row.server_mb, row.site_mb)
        )
        times = f"{row.median_ms:,.0f} | {row.p90_ms:,.0f}"
        parts.append(f"| {row.stack} | {row.what} | {row.sites} | {row.rounds} | {times} | {costs} |")
    names = list(dict.fromkeys(name for each in figures.steps.values() for name in each))
    parts += [
        "",
        f"| step of a round, median ms | {' | '.join(figures.steps)} |",
        f"|---|{len(figures.steps) * '---|'}",
    ]
    for name in names:
        cells = (f"{each[name]:.1f}" if name in each else "" for each in figures.steps.values())
        parts.append(f"| {name} | {' | '.join(cells)} |")
    told = figures.machine
    parts += [
        "",
        f"{told['cores']} cores ({told['architecture']}), {told['memory_gb']} GB, {told['system']}, "
        f"Python {told['python']}, {told['busy_cores_at_start']} cores busy before the bench, "
        f"which took {figures.took_s:.0f} s.",
    ]
    if figures.busy:
        parts += [
            "",
            "**The machine had other work to do**: the stacks compare, but the lines are for an idle one.",
        ]
    return "\n".join(parts)


def write(figures: Figures, path: Path) -> None:
    """The figures for machines."""
    content = asdict(figures) | {"busy": figures.busy, "lines": [asdict(each) for each in lines(figures)]}
    if figures.soak:
        content["soak"] |= {"growth": figures.soak.growth, "flat": figures.soak.flat}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def publish(figures: Figures, folder: Path) -> None:
    """JSON, plot, and the table between the page's markers."""
    write(figures, folder / "rounds.json")
    (folder / "rounds.svg").write_text(draw(figures.rows, figures.soak))
    page = folder / "rounds.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(figures)}\n\n{END}{after}")
