"""Reading a table that a contract describes.

Faults of the file (missing, not CSV, a column absent) are errors. Faults of single cells are not: a cell that cannot
be read is missing (NaN), a label outside the declared classes is UNLABELLED. Whether a row is well-formed depends
on records, and nothing that depends on records may stop a site.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.contract import DataContract
from fedpriv_common.errors import ErrorCode, FedprivError

#: Label of a record whose class is missing or undeclared; it contributes nothing to training.
UNLABELLED = -1


@dataclass(frozen=True)
class Table:
    """Raw cells of n records: `features` (n, d) in the columns' own units, `labels` (n,), `groups` if declared."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.bool_]) -> Table:
        """The records where `chosen`, shape (n,), is true."""
        groups = None
        if self.groups is not None:
            groups = tuple(group for group, keep in zip(self.groups, chosen, strict=True) if keep)
        return Table(self.features[chosen], self.labels[chosen], groups)


def read_csv(path: Path, contract: DataContract) -> Table:
    """Read a CSV file with a header line. Raises DATA_FORMAT for faults of the file or its header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip() for name in next(rows, [])]
            places = _places(path, header, contract)
            cells = [row for row in rows if row]
    except OSError as error:
        raise _fault(path, f"cannot be read ({error.strerror})", "Check the path and its mode.") from None
    except (UnicodeDecodeError, csv.Error):
        # The parser's own message may quote the line, and a line is a record.
        raise _fault(path, "is not a CSV file in UTF-8", "Export it again as comma-separated UTF-8.") from None
    classes = {name: index for index, name in enumerate(contract.label.classes)}
    features = np.array(
        [[_number(row, places[feature.name]) for feature in contract.features] for row in cells], dtype=np.float64
    ).reshape(len(cells), contract.n_features)
    labels = np.array([classes.get(_cell(row, places[contract.label.column]), UNLABELLED) for row in cells], np.int64)
    groups = None if contract.group is None else tuple(_cell(row, places[contract.group]) for row in cells)
    return Table(features, labels, groups)


def _places(path: Path, header: list[str], contract: DataContract) -> dict[str, int]:
    needed = [feature.name for feature in contract.features] + [contract.label.column]
    if contract.group is not None:
        needed.append(contract.group)
    missing = [name for name in needed if name not in header]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise _fault(
            path,
            f"lacks columns of contract {contract.dataset}: {listed}",
            "Name the columns in the first line as the contract does.",
        )
    twice = [name for name in needed if header.count(name) > 1]
    if twice:
        raise _fault(path, f"names columns twice: {', '.join(twice[:5])}", "Keep one of each.")
    return {name: header.index(name) for name in needed}


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _number(row: list[str], place: int) -> float:
    try:
        return float(_cell(row, place))
    except ValueError:
        return float("nan")


def _fault(path: Path, what: str, remedy: str) -> FedprivError:
    return FedprivError(ErrorCode.DATA_FORMAT, f"{path} {what}.", remedy)
