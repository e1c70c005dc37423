"""Two panels in SVG: a round over the number of sites, and memory over two hundred rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.bench.rounds.soak import Soak

if TYPE_CHECKING:
    from tests.bench.rounds.report import Row

WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 260, 60, 40, 90
#: Told apart without colour vision, on light and on dark ground.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


class Panel:
    """Axes from one value to another, logarithmic or not. The names of series begin at `legend`, where no points are:
    shares of the width and, from the top, of the height."""

    def __init__(
        self,
        left: float,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log: bool,
        legend: tuple[float, float],
    ) -> None:
        self._left, self._log = left, log
        self._x, self._y = x, y
        self._legend = left + WIDTH * legend[0], TOP + HEIGHT * legend[1]
        self.parts = [
            f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
            text(left, TOP - 14, title, "start", 14),
        ]
        self._named = 0

    def ticks(self, xs: Sequence[float], ys: Sequence[float], x_name: str) -> None:
        """Marks and their names."""
        for value in xs:
            self.parts.append(text(self._at_x(value), TOP + HEIGHT + 18, f"{value:,g}", "middle"))
        for value in ys:
            y = self._at_y(value)
            self.parts.append(
                f'<line x1="{self._left}" x2="{self._left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'
            )
            self.parts.append(text(self._left - 6, y + 4, f"{value:,g}", "end"))
        self.parts.append(text(self._left + WIDTH / 2, TOP + HEIGHT + 38, x_name, "middle"))

    def series(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        """A line with a mark at each point, and its name."""
        colour = COLOURS[self._named % len(COLOURS)]
        placed = [(self._at_x(x), self._at_y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
        x, y = self._legend[0], self._legend[1] + 18 * self._named
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="3.5" fill="{colour}"/>')
        self.parts.append(text(x + 10, y, name, "start"))
        self._named += 1

    def _at_x(self, value: float) -> float:
        return self._left + WIDTH * self._share(value, *self._x)

    def _at_y(self, value: float) -> float:
        return TOP + HEIGHT * (1 - self._share(value, *self._y))

    def _share(self, value: float, low: float, high: float) -> float:
        if self._log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


def draw(rows: Sequence[Row], soak: Soak | None) -> str:
    """The plot as an SVG document."""
    growth = Panel(LEFT, "Median round, ms", (0.8, 260), (10, 300_000), log=True, legend=(0.45, 0.07))
    growth.ticks((1, 2, 5, 10, 50, 100, 200), (10, 100, 1000, 10_000, 100_000), "sites")
    for name, what, stack in (
        ("stock Flower, seed's model", "seed model", "stock"),
        ("fedpriv, seed's model", "seed model", "fedpriv"),
        ("fedpriv, default recipe", "growth, torch", "fedpriv"),
        ("fedpriv, light sites", "growth, light", "fedpriv"),
    ):
        points = [(float(row.sites), row.median_ms) for row in rows if (row.what, row.stack) == (what, stack)]
        if points:
            growth.series(name, points)
    panels = [growth]
    if soak:
        most = 100 * math.ceil(1.3 * max(max(values) for values in soak.memory_mb.values()) / 100)
        memory = Panel(
            LEFT + WIDTH + GAP, "Resident memory over one run, MB", (0, 210), (0, most), log=False, legend=(0.45, 0.75)
        )
        memory.ticks(range(0, 201, 50), range(0, most + 1, 100), "round")
        for name, values in soak.memory_mb.items():
            memory.series(name, list(zip(soak.rounds, values, strict=True)))
        panels.append(memory)
    width, height = LEFT + len(panels) * (WIDTH + GAP), TOP + HEIGHT + 54
    body = "\n".join(part for panel in panels for part in panel.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    """Words in the plot."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#333">{words}</text>'
