"""A site's records, ready for the trainer: those it trains on, and those it holds out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.data.partition import SiteKey, assign, unit_ids
from fedpriv_common.contract import DataContract
from fedpriv_common.table import Table, read_csv


@dataclass(frozen=True)
class Records:
    """Standardised features z, shape (n, d) in [−1, 1], and labels, shape (n,), UNLABELLED where unknown."""

    z: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SiteData(Records):
    """Training records, and apart from them the held-out ones: no record is in both."""

    held_out: Records | None = None


def load_site_data(
    path: Path, contract: DataContract, key: SiteKey, *, partition: int, partitions: int, held_out_share: float
) -> SiteData:
    """Read the file and keep the records of one partition. Raises DATA_FORMAT for faults of the file."""
    table = read_csv(path, contract)
    placed = assign(unit_ids(table), key, partitions, held_out_share)
    mine = placed.partition == partition
    training = _records(table.take(mine & ~placed.held_out), contract)
    return SiteData(training.z, training.labels, _records(table.take(mine & placed.held_out), contract))


def _records(table: Table, contract: DataContract) -> Records:
    return Records(contract.standardise(table.features), table.labels)
