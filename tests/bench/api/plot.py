"""Two panels in SVG: what one request takes, by what was asked, and memory under load."""

from __future__ import annotations

import math

from tests.bench.api import pairs
from tests.bench.api.pairs import Pairs
from tests.bench.api.soak import Soak
from tests.bench.rounds.plot import COLOURS, HEIGHT, LEFT, TOP, WIDTH, Panel, text

#: Where bars begin: room for their names.
NAMES = 250
BAR, STEP = 16, 28


def draw(found: Pairs | None, soak: Soak | None) -> str:
    """The plot as an SVG document."""
    parts: list[str] = []
    width = 0
    if found:
        parts += _bars(found)
        width = NAMES + WIDTH + 90
    if soak:
        parts += _memory(soak, width + LEFT)
        width += LEFT + WIDTH + 40
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 54}" font-family="sans-serif">\n'
        f'<rect width="{width}" height="{TOP + HEIGHT + 54}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _bars(found: Pairs) -> list[str]:
    """Median of each request on a logarithmic scale, ours and MLflow's in two colours."""
    names = sorted(found.times, key=found.median)
    low, high = 0.1, 10 ** math.ceil(math.log10(max(found.median(name) for name in names)))
    span = math.log10(high / low)
    parts = [text(NAMES, TOP - 14, "Median of one request, ms (logarithmic)", "start", 14)]
    for place, name in enumerate(names):
        y, median = TOP + 6 + STEP * place, found.median(name)
        length = WIDTH * max(math.log10(median / low), 0.01) / span
        colour = (
            COLOURS[1] if name in (pairs.MLFLOW_HEALTH, pairs.BULK, pairs.INTERVAL, pairs.MLFLOW_ONE) else COLOURS[0]
        )
        parts.append(text(NAMES - 8, y + 12, name, "end"))
        parts.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
        parts.append(text(NAMES + length + 6, y + 12, f"{median:,.2f}" if median < 100 else f"{median:,.0f}", "start"))
    return parts


def _memory(soak: Soak, left: float) -> list[str]:
    top = 20 * math.ceil(1.2 * max(soak.memory_mb) / 20)
    last = len(soak.memory_mb) - 1
    title = f"Resident memory at {soak.rate} requests a second, MB"
    panel = Panel(left, title, (0, last), (0, top), log=False, legend=(0.5, 0.9))
    panel.ticks(range(0, last + 1, max(1, last // 5)), range(0, top + 1, 20), "minute")
    panel.series("metrics API", [(float(minute), value) for minute, value in enumerate(soak.memory_mb)])
    return panel.parts
