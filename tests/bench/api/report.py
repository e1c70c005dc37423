"""The bench's figures as a table, as JSON, and in docs/benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.api import pairs
from tests.bench.api.cold import Cold
from tests.bench.api.live import Delay, Many, Requests
from tests.bench.api.pairs import Pairs
from tests.bench.api.plot import draw
from tests.bench.api.soak import DRIFT, Soak

BEGIN, END = "<!-- figures: written by `make bench-api` -->", "<!-- end of figures -->"


@dataclass
class Figures:
    """Everything that a bench finds; None: not measured."""

    machine: dict[str, object]
    quick: bool
    took_s: float = 0.0
    mlflow: str = ""
    pairs: Pairs | None = None
    segments: Cold | None = None
    loose: Cold | None = None
    delay: Delay | None = None
    many: Many | None = None
    requests: Requests | None = None
    soak: Soak | None = None
    #: Memory of the API that answered it all, MB: when it was ready, at the end, and at its peak.
    memory_mb: dict[str, float] | None = None

    @property
    def busy(self) -> bool:
        """Whether the machine's cores had other work when the bench began."""
        return float(str(self.machine["busy_cores_at_start"])) > 0.1 * int(str(self.machine["cores"]))


@dataclass(frozen=True)
class Line:
    """A line to reach; `mlflow`: what MLflow took for the same, where it has the same."""

    what: str
    line: str
    measured: str
    mlflow: str
    met: bool


def lines(figures: Figures) -> Iterator[Line]:
    """The lines that were measured."""
    if figures.pairs:
        yield from _of_pairs(figures.pairs)
    if cold := figures.segments:
        records = f"{cold.records:,} records from segments"
        measured = f"{cold.load_s:.2f} s (largest of {cold.starts}: {cold.load_largest_s:.2f} s)"
        yield Line(f"cold load of {records}", "≤ 1 s", measured, "", cold.load_s <= 1)
        yield _at_most(f"memory that {records} take", cold.more_mb, 30, "MB")
    if delay := figures.delay:
        measured = f"{delay.median_ms / 1000:.2f} s (largest of {delay.rounds}: {delay.largest_ms / 1000:.2f} s)"
        yield Line("new round in S3 → event at a viewer", "≤ 1.5 s", measured, "", delay.median_ms <= 1500)
    if many := figures.many:
        measured = f"{many.last_median_ms:,.0f} ms (p90 {many.last_p90_ms:,.0f} ms)"
        what = f"{many.viewers} viewers: from the first one told to the last, median"
        yield Line(what, "≤ 250 ms", measured, "", many.last_median_ms <= 250)
        yield _at_most(f"{many.viewers} viewers: memory of each", many.kb_each, 40, "kB")
        measured = f"{many.wrong} viewers, {many.resets} resets over {many.reconnects:,} reconnects"
        what = f"{many.viewers} viewers cut off at every event: lost or doubled"
        yield Line(what, "0", measured, "", many.wrong == 0 and many.resets == 0)
    if asked := figures.requests:
        more = asked.viewed_per_s - asked.idle_per_s
        measured = f"{asked.idle_per_s:.1f} a second without, {asked.viewed_per_s:.1f} with {asked.viewers} viewers"
        yield Line("S3 requests that a viewer adds", "0", measured, "", more <= 0.15 * asked.idle_per_s)
        yield _at_most("S3 GETs for each new object", asked.gets_per_object, 1, "", digits=2)
    if memory := figures.memory_mb:
        measured = f"{memory['end']:,.0f} MB (peak {memory['peak']:,.0f} MB)"
        yield Line("the process, after all of this", "≤ 120 MB", measured, "", memory["end"] <= 120)
    if soak := figures.soak:
        what = f"{soak.rate} requests a second for {soak.seconds / 60:.0f} minutes: p99"
        measured = (
            f"{soak.latency['p99']:.1f} ms (p50 {soak.latency['p50']:.1f}, longest {soak.latency['max']:,.0f} ms)"
        )
        yield Line(what, "stated", measured, "", True)
        wrong = sum(count for status, count in soak.statuses.items() if status not in ("200", "304"))
        measured = f"{wrong} of {soak.latency['n']:,.0f} requests, {soak.missed} of {soak.viewers} viewers"
        yield Line(
            "the same: requests without a good answer, viewers that missed something",
            "0",
            measured,
            "",
            not (wrong or soak.missed),
        )
        yield Line("the same: growth of memory", f"≤ +{DRIFT:.0%}", f"{soak.growth:+.1%}", "", soak.growth <= DRIFT)


def _of_pairs(found: Pairs) -> Iterator[Line]:
    cached = f"{found.median(pairs.CACHED):.2f} ms"
    ratio, low, high = found.ratio(pairs.CACHED, pairs.HEALTH)
    measured = f"{ratio:.2f}× ({low:.2f}–{high:.2f}): {cached} to {found.median(pairs.HEALTH):.2f} ms"
    yield Line("2,000 points out of 100,000 records, warm, over /healthz", "≤ 2×", measured, "", ratio <= 2)
    for name, line in ((pairs.BULK, 20.0), (pairs.INTERVAL, None)):
        ratio, low, high = found.ratio(name, pairs.CACHED)
        yield Line(
            f"the same, {name} over ours",
            f"≥ {line:.0f}×" if line else "",
            f"{ratio:,.0f}× ({low:,.0f}–{high:,.0f})",
            f"{found.median(name):,.0f} ms",
            line is None or ratio >= line,
        )
    ratio, low, high = found.ratio(pairs.BULK, pairs.UNCACHED)
    yield Line(
        "the same, asked for the first time: get-history-bulk over ours",
        "",
        f"{ratio:,.0f}× ({low:,.0f}–{high:,.0f}): {found.median(pairs.UNCACHED):.2f} ms",
        f"{found.median(pairs.BULK):,.0f} ms",
        True,
    )


def _at_most(what: str, value: float, line: float, unit: str, digits: int = 0) -> Line:
    return Line(what, f"≤ {line:g} {unit}".strip(), f"{value:,.{digits}f} {unit}".strip(), "", value <= line)


def table(figures: Figures) -> str:
    """All figures, in Markdown."""
    parts = ["| what | line | measured | MLflow | |", "|---|---|---|---|---|"]
    for each in lines(figures):
        verdict = "" if each.line in ("", "stated") else "met" if each.met else "**missed**"
        parts.append(f"| {each.what} | {each.line} | {each.measured} | {each.mlflow} | {verdict} |")
    if found := figures.pairs:
        parts += ["", "| one request | median ms | p90 ms | bytes | requests |", "|---|---|---|---|---|"]
        for name in sorted(found.times, key=found.median):
            times = f"{found.median(name):,.2f} | {found.p90(name):,.2f}"
            parts.append(f"| {name} | {times} | {found.sizes[name]:,} | {len(found.times[name])} |")
    colds = [(name, cold) for name, cold in (("segments", figures.segments), ("loose objects", figures.loose)) if cold]
    if colds:
        parts += ["", "| a start over | records | more s | CPU s | more MB | peak MB | process MB | S3 requests |"]
        parts += ["|---|---|---|---|---|---|---|---|"]
        for name, cold in colds:
            cells = f"{cold.load_s:.2f} | {cold.cpu_s:.2f} | {cold.more_mb:.0f} | {cold.peak_mb:.0f}"
            parts.append(f"| {name} | {cold.records:,} | {cells} | {cold.process_mb:.0f} | {cold.requests:,} |")
    if soak := figures.soak:
        parts += ["", "| under load | requests | p50 ms | p90 ms | p99 ms | longest ms |", "|---|---|---|---|---|---|"]
        for name, told in ({"all": soak.latency} | soak.routes).items():
            cells = " | ".join(f"{told[each]:,.1f}" for each in ("p50", "p90", "p99", "max"))
            parts.append(f"| {name} | {told['n']:,.0f} | {cells} |")
        memory = ", ".join(f"{value:.0f}" for value in soak.memory_mb)
        parts += ["", f"Memory under load, MB, at the start and every minute: {memory}."]
        parts += [f"The API was busy for {soak.cores:.0%} of one core, with {soak.rounds} new rounds meanwhile."]
    on = figures.machine
    parts += [
        "",
        f"{on['cores']} cores ({on['architecture']}), {on['memory_gb']} GB, {on['system']}, "
        f"Python {on['python']}, MLflow {figures.mlflow or 'not measured'}, {on['busy_cores_at_start']} cores busy "
        f"before the bench, which took {figures.took_s:.0f} s.",
    ]
    if figures.busy:
        parts += ["", "**The machine had other work to do**: ratios hold, but the lines are for an idle one."]
    return "\n".join(parts)


def write(figures: Figures, path: Path) -> None:
    """The figures for machines; of each request, its median and 90th percentile."""
    content = asdict(figures) | {"busy": figures.busy, "lines": [asdict(each) for each in lines(figures)]}
    if found := figures.pairs:
        content["pairs"] = {
            name: {
                "median_ms": found.median(name),
                "p90_ms": found.p90(name),
                "bytes": found.sizes[name],
                "n": len(times),
            }
            for name, times in found.times.items()
        }
    if figures.soak:
        content["soak"] |= {"growth": figures.soak.growth, "flat": figures.soak.flat}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def publish(figures: Figures, folder: Path) -> None:
    """JSON, plot, and the table between the page's markers."""
    write(figures, folder / "api.json")
    (folder / "api.svg").write_text(draw(figures.pairs, figures.soak))
    page = folder / "api.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(figures)}\n\n{END}{after}")
