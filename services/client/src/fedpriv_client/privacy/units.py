"""Whose vectors are added up: one for each record, or for each patient the mean over all their records.

Each record's vector is clipped to C first (release.py), and the mean of vectors within C is within C. So a patient
moves a sum by at most C, however many records they have, and so does any single record of theirs: where k ≥ 2 remain or
were, by at most 2C/k. To clip the mean alone would bound the patient, too, but not the single record; and where huge
values cancel, it would scale up what rounding leaves of them, which hangs on the other records of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.data.site_data import NOBODY, SiteData
from fedpriv_common.contract import Unit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class UnitRecords:
    """Training records in the order of their units: features, shape (n, d), labels and `units`, shape (n,), ascending
    from 0 without gaps. Where the unit is the record, each is its own."""

    features: FloatArray
    labels: IntArray
    units: IntArray

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.units[-1]) + 1 if len(self.units) else 0

    def of(self, chosen: NDArray[np.bool_]) -> UnitRecords:
        """All records of the units for which `chosen`, shape (n_units,), is true."""
        kept = chosen[self.units]
        return UnitRecords(self.features[kept], self.labels[kept], _numbered(self.units[kept]))


def by_unit(data: SiteData, unit: Unit) -> UnitRecords:
    """The training records by unit. ValueError for patients of records that have none declared.

    A record whose patient the table does not name contributes nothing where the unit is the patient: it may belong to
    any of them, or several such to one, whom no bound would then hold for.
    """
    if unit == "record":
        return UnitRecords(data.z, data.labels, np.arange(len(data)))
    if data.patients is None:
        raise ValueError("the records name no patients")
    order = np.argsort(data.patients, kind="stable")
    order = order[data.patients[order] != NOBODY]
    return UnitRecords(data.z[order], data.labels[order], _numbered(data.patients[order]))


def unit_means(chunks: Iterable[FloatArray], units: IntArray) -> Iterator[FloatArray]:
    """The mean vector of each unit, in chunks of shape (units, size), from chunks of clipped per-record vectors.

    `units`, shape (n,), ascending from 0 without gaps, says whose each row is. A unit whose rows are spread over
    several chunks comes once, after the last of them.
    """
    counts = np.bincount(units)
    start = 0
    last: FloatArray | None = None  # of the unit that may go on in the next chunk
    last_unit = -1
    for chunk in chunks:
        if not len(chunk):
            continue
        own = units[start : start + len(chunk)]
        start += len(chunk)
        shares = chunk / counts[own][:, None]
        sums = np.add.reduceat(shares, np.flatnonzero(np.diff(own, prepend=-1)), axis=0)
        if last is not None and own[0] == last_unit:
            sums[0] += last[0]
        elif last is not None:
            yield last
        yield sums[:-1]
        last, last_unit = sums[-1:], int(own[-1])
    if last is not None:
        yield last


def _numbered(units: IntArray) -> IntArray:
    """The same units, ascending, numbered from 0 without gaps."""
    return np.cumsum(np.diff(units, prepend=units[:1]) != 0)
