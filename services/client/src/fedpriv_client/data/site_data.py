"""A site's records, ready for the trainer: those it trains on, and those it holds out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.data.partition import SiteKey, assign, one_per_group, unit_ids
from fedpriv_common.contract import DataContract, Unit
from fedpriv_common.table import Table, read_csv

#: Patient of a record whose group cell is empty.
NOBODY = -1


@dataclass(frozen=True)
class Records:
    """Standardised features z, shape (n, d) in [−1, 1], and labels, shape (n,), UNLABELLED where unknown.

    `patients`, shape (n,), numbers whose record each one is, NOBODY where the table does not say; None without a group.
    """

    z: NDArray[np.float64]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SiteData(Records):
    """Training records, and apart from them the held-out ones: no record is in both, nor is a patient.

    `held_out_patients` has one of the held-out records for each patient: adding or removing a patient with all their
    records changes it by one. For single records it would not do, since a new one may take the place of another.
    """

    held_out: Records | None = None
    held_out_patients: Records | None = None

    def evaluation(self, unit: Unit) -> Records | None:
        """The held-out records of which adding or removing one unit adds or removes one."""
        return self.held_out if unit == "record" else self.held_out_patients


def load_site_data(
    path: Path, contract: DataContract, key: SiteKey, *, partition: int, partitions: int, held_out_share: float
) -> SiteData:
    """Read the file and keep the records of one partition. Raises DATA_FORMAT for faults of the file."""
    table = read_csv(path, contract)
    placed = assign(unit_ids(table), key, partitions, held_out_share)
    mine = placed.partition == partition
    training = _records(table.take(mine & ~placed.held_out), contract)
    held_out = table.take(mine & placed.held_out)
    patients = None if table.groups is None else _records(held_out.take(one_per_group(held_out, key)), contract)
    return SiteData(training.z, training.labels, _records(held_out, contract), patients, patients=training.patients)


def _records(table: Table, contract: DataContract) -> Records:
    patients = None
    if table.groups is not None:
        numbers = {group: number for number, group in enumerate(dict.fromkeys(table.groups))} | {"": NOBODY}
        patients = np.array([numbers[group] for group in table.groups], dtype=np.int64)
    return Records(contract.standardise(table.features), table.labels, patients=patients)
