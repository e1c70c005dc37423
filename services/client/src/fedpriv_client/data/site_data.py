"""A site's training records, ready for the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.data.partition import SiteKey, assign, unit_ids
from fedpriv_common.contract import DataContract
from fedpriv_common.table import read_csv


@dataclass(frozen=True)
class SiteData:
    """Standardised features z, shape (n, d) in [−1, 1], and labels, shape (n,), UNLABELLED where unknown."""

    z: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load_site_data(
    path: Path, contract: DataContract, key: SiteKey, *, partition: int, partitions: int, held_out_share: float
) -> SiteData:
    """Read the file and keep the training records of one partition. Raises DATA_FORMAT for faults of the file."""
    table = read_csv(path, contract)
    placed = assign(unit_ids(table), key, partitions, held_out_share)
    mine = table.take((placed.partition == partition) & ~placed.held_out)
    return SiteData(z=contract.standardise(mine.features), labels=mine.labels)
