"""Does anything but noise depend on the records? A table of 224 records, and its neighbours, replayed side by side.

Each table is a CSV file that is read, placed and standardised as a site does it, and served by a whole site. What a
server sees of two neighbours must be the same in kind: codes, fields, sizes, facts, ledger entries; and what the site
does for it: how often noise is drawn, how much, and at which scale.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.clipping import ROUNDING, Silent, in_clips, one_step
from fedpriv_client.audit.noise import unlabelled
from fedpriv_client.audit.subject import HELD_OUT_SHARE, Subject, lab_contract, lab_plan, lab_site, values
from fedpriv_client.data.partition import SiteKey
from fedpriv_client.data.site_data import SiteData, load_site_data
from fedpriv_client.privacy.randomness import Randomness, SystemRandomness
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe

FloatArray = NDArray[np.float64]

BASE = 224
_FEATURES, _ROUNDS = 8, 2
_KEY = SiteKey(b"a key of the audit, not a site's")


class Watched:
    """A source of randomness that notes what it is asked for."""

    def __init__(self, source: Randomness) -> None:
        self.is_private = source.is_private
        self.asked: list[tuple[int, float]] = []
        self._source = source

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """As the source draws it, shape (size,)."""
        self.asked.append((size, standard_deviation))
        return self._source.gaussian(size, standard_deviation)

    def uniform(self, size: int) -> FloatArray:
        """As the source draws it, shape (size,)."""
        return self._source.uniform(size)

    def two_sided_geometric(self, size: int, epsilon: float) -> NDArray[np.int64]:
        """As the source draws it, shape (size,)."""
        self.asked.append((size, epsilon))
        return self._source.two_sided_geometric(size, epsilon)


class OneDeviation(SystemRandomness):
    """Noise of exactly one standard deviation, so that a release shows the scale of its noise."""

    is_private = False

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """The standard deviation itself, shape (size,)."""
        return np.full(size, standard_deviation)


def ordinary_rows(count: int) -> list[list[str]]:
    """Rows of cells within the declared range, with a class each; the same ones every time."""
    generator = np.random.default_rng(1)
    cells, classes = generator.uniform(-1, 1, (count, _FEATURES)), generator.integers(0, 2, count)
    return [
        [*(repr(float(cell)) for cell in row), ("no", "yes")[label]] for row, label in zip(cells, classes, strict=True)
    ]


def neighbours() -> dict[str, list[list[str]]]:
    """Tables beside the one of 224 records: one record more, of every kind; and tables that are odd as a whole."""
    base = ordinary_rows(BASE)
    ordinary = ordinary_rows(BASE + 1)[-1]

    def cells(text: str, label: str = "yes") -> list[str]:
        return [text] * _FEATURES + [label]

    return {
        "one more": [*base, ordinary],
        "outlier of 1e6": [*base, cells("1e6")],
        "no number": [*base, cells("nan")],
        "infinite": [*base, cells("inf")],
        "unreadable": [*base, cells("Jane Doe")],
        "empty label": [*base, [*ordinary[:-1], ""]],
        "undeclared label": [*base, [*ordinary[:-1], "perhaps"]],
        "short row": [*base, ordinary[:2]],
        "all one class": [[*row[:-1], "yes"] for row in base],
        "no records": [],
    }


def load_rows(rows: list[list[str]], held_out_share: float = HELD_OUT_SHARE) -> SiteData:
    """The records as a site reads them from its file."""
    contract = lab_contract(_FEATURES)
    header = [*(feature.name for feature in contract.features), contract.label.column]
    with tempfile.TemporaryDirectory(prefix="fedpriv-audit-") as folder:
        path = Path(folder) / "records.csv"
        path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
        return load_site_data(path, contract, _KEY, partition=0, partitions=1, held_out_share=held_out_share)


@dataclass(frozen=True)
class Seen:
    """What a run over a table shows to the server, what it writes down and what noise it draws."""

    replies: list[tuple[Any, ...]]
    entries: list[dict[str, Any]]
    noise: list[tuple[int, float]]
    finite: bool


def replay(subject: Subject, plan: Plan, data: SiteData) -> Seen:
    """A whole run, with a request in it that no site may answer."""
    watched = Watched(subject.randomness())
    with lab_site(subject, plan, data, randomness=watched) as site:
        replies = [site.admit(), *(reply for _, reply in site.whole_run())]
        replies += [site.release(1, Phase.TRAIN, np.ones(1)), site.release(plan.rounds + 1, Phase.TRAIN), site.close()]
        entries = [_kept(entry, "reply_digest", "prev_hash", "at", "salt", "seq") for entry in site.ledger.export()]
    return Seen(
        replies=[
            (
                reply.code,
                sorted(reply.to_fields()),
                len(reply.payload),
                _kept(reply.facts.model_dump(), "ledger_head") if reply.facts else None,
            )
            for reply in replies
        ],
        entries=entries,
        noise=watched.asked,
        finite=all(bool(np.isfinite(values(reply.payload)).all()) for reply in replies),
    )


def _kept(fields: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in without}


def check_neighbours(subject: Subject, only: tuple[str, ...] | None = None) -> list[Check]:
    """Replies, mechanisms, finiteness, scale of the noise, and how far a neighbour moves a release.

    `only` names the neighbours to replay; by default all of them.
    """
    plans = [subject.plan(lab_plan(recipe, _FEATURES, _ROUNDS)) for recipe in Recipe]
    rows = {name: rows for name, rows in neighbours().items() if only is None or name in only}
    tables = {name: load_rows(table) for name, table in rows.items()}
    base = load_rows(ordinary_rows(BASE))
    differing: dict[str, list[str]] = {"replies": [], "mechanism": [], "finite": []}
    for plan in plans:
        expected = replay(subject, plan, base)
        for name, data in tables.items():
            seen = replay(subject, plan, data)
            label = f"{name} ({plan.recipe})"
            if seen.replies != expected.replies:
                differing["replies"].append(label)
            if (seen.entries, seen.noise) != (expected.entries, expected.noise):
                differing["mechanism"].append(label)
            if not (seen.finite and expected.finite):
                differing["finite"].append(label)
    pairs = len(plans) * len(tables)
    return [
        _same(
            "neighbours.replies", "codes, fields, sizes and facts of every reply are equal", differing["replies"], pairs
        ),
        _same(
            "neighbours.mechanism",
            "σ, C, q and steps charged, and number, size and scale of the noise drawn, are equal",
            differing["mechanism"],
            pairs,
        ),
        _same("neighbours.finite", "every number released is finite", differing["finite"], pairs),
        *(_scale(subject, plan) for plan in plans),
        *(_bounded(subject, plan, rows) for plan in plans),
        _bounded_evaluation(subject, plans[0], rows),
    ]


def _same(name: str, expects: str, differing: list[str], pairs: int) -> Check:
    return Check(
        name=name,
        expects=f"{expects}, for {BASE} records and each neighbour",
        passed=not differing,
        figures={"pairs": pairs, "different": len(differing), "first": differing[0] if differing else "none"},
    )


def _scale(subject: Subject, plan: Plan) -> Check:
    """The noise of a release, to the bit, over tables of different sizes."""
    scales = set()
    for count in (0, 1, BASE, BASE + 1, 1000):
        trainer = subject.trainer(plan, unlabelled(count, _FEATURES), OneDeviation())
        released = trainer.release(Phase.TRAIN, np.zeros(plan.model.n_parameters), np.zeros(_FEATURES))
        scales.add(released.tobytes())
    short = plan.recipe.value.split("-")[-1]
    return Check(
        name=f"neighbours.noise_scale_of_{short}",
        expects="noise, steps and divisor are the same to the bit for 0, 1, 224, 225 and 1000 records",
        passed=len(scales) == 1,
        figures={"different_scales": len(scales)},
    )


def _bounded(subject: Subject, plan: Plan, rows: dict[str, list[list[str]]]) -> Check:
    """The noise-free difference of one step between the table and each that has one record more."""
    plan = one_step(plan)
    # Nothing is held out here, so that the record is one that trains.
    base = load_rows(ordinary_rows(BASE), held_out_share=0.0)
    tables = {name: load_rows(table, held_out_share=0.0) for name, table in rows.items()}
    moves = {}
    for phase in (Phase.CENTRE, Phase.TRAIN) if plan.centre is not None else (Phase.TRAIN,):
        expected = _silent(subject, plan, base, phase)
        for name, data in tables.items():
            if len(data) == BASE + 1:
                moved = float(np.linalg.norm(in_clips(plan, phase, _silent(subject, plan, data, phase) - expected)))
                moves[f"{name}, {phase}"] = moved if np.isfinite(moved) else float(np.finfo(np.float64).max)
    worst = max(moves, key=moves.__getitem__)
    short = plan.recipe.value.split("-")[-1]
    return Check(
        name=f"neighbours.bounded_update_of_{short}",
        expects="one record more moves a release by at most C, noise aside",
        passed=moves[worst] <= 1.0 + BASE * ROUNDING,
        figures={"pairs": len(moves), "worst": worst, "moved_in_units_of_C": moves[worst]},
    )


def _bounded_evaluation(subject: Subject, plan: Plan, rows: dict[str, list[list[str]]]) -> Check:
    """The noise-free difference of a confusion matrix between held-out records and one record more."""

    def matrix(table: list[list[str]]) -> FloatArray:
        read = load_rows(table, held_out_share=0.0)
        nobody = SiteData(z=read.z[:0], labels=read.labels[:0], held_out=read)
        return _silent(subject, plan, nobody, Phase.EVALUATE)

    base = matrix(ordinary_rows(BASE))
    moves = {name: float(np.abs(matrix(table) - base).sum()) for name, table in rows.items() if len(table) == BASE + 1}
    worst = max(moves, key=moves.__getitem__)
    return Check(
        name="neighbours.bounded_evaluation",
        expects="one held-out record more adds at most 1 to one cell of the confusion matrix, noise aside",
        passed=moves[worst] <= 1.0,
        figures={"pairs": len(moves), "worst": worst, "moved": moves[worst]},
    )


def _silent(subject: Subject, plan: Plan, data: SiteData, phase: Phase) -> FloatArray:
    trainer = subject.trainer(plan, data, Silent())
    return trainer.release(phase, np.full(plan.model.n_parameters, 0.1), np.zeros(_FEATURES))
