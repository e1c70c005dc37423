"""Which records a site holds out, and which of P partitions each of the others belongs to.

Both follow from HMAC-SHA256(site key, unit id) and from nothing else: adding or removing one record moves no other,
and scaling tasks up or down moves none at all. The rules are fixed by CANONICAL_FORM, which the ledger's genesis
entry records; a change of them is a change of the data set.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import read_secret
from fedpriv_common.table import Table

#: Version of `unit_ids` and `assign`.
CANONICAL_FORM = 1

_SEPARATOR = b"\x1f"
_KEY_CONTEXT = b"fedpriv site key commitment v1\x00"


@dataclass(frozen=True)
class SiteKey:
    """The secret that decides where a record goes; without it, nobody can tell which partition a record is in."""

    secret: bytes

    @classmethod
    def read(cls, path: Path) -> SiteKey:
        """Read the key's file: at least 32 hexadecimal digits. Raises BAD_KEY."""
        try:
            secret = bytes.fromhex(read_secret(path, "site key"))
        except ValueError:
            secret = b""
        if len(secret) < 16:
            raise FedprivError(
                ErrorCode.BAD_KEY,
                f"The site key at {path} is not at least 32 hexadecimal digits.",
                "Restore it from its backup; a new key would move records between partitions.",
            )
        return cls(secret)

    def commitment(self) -> str:
        """A hash that identifies the key without giving it away."""
        return hashlib.sha256(_KEY_CONTEXT + self.secret).hexdigest()

    def mac(self, unit_id: bytes) -> bytes:
        """HMAC-SHA256 of a unit id, 32 bytes."""
        return hmac.new(self.secret, unit_id, hashlib.sha256).digest()


def unit_ids(table: Table) -> list[bytes]:
    """The privacy unit of each record: its group if declared, else a hash of its canonical columns.

    The canonical form of a number is Python's shortest decimal that reads back to the same float64.
    """
    if table.groups is not None:
        return [b"group" + _SEPARATOR + group.encode() for group in table.groups]
    return _record_ids(table)


def _record_ids(table: Table) -> list[bytes]:
    return [
        hashlib.sha256(
            _SEPARATOR.join([*(repr(float(cell)).encode() for cell in row), str(int(label)).encode()])
        ).digest()
        for row, label in zip(table.features, table.labels, strict=True)
    ]


@dataclass(frozen=True)
class Assignment:
    """Per record, shape (n,): held out from training or not, and the partition 0…P−1."""

    held_out: NDArray[np.bool_]
    partition: NDArray[np.int64]


def assign(ids: list[bytes], key: SiteKey, partitions: int, held_out_share: float) -> Assignment:
    """Place each unit: the first 8 bytes of its MAC decide held-out, the next 8 the partition."""
    macs = [key.mac(unit_id) for unit_id in ids]
    return Assignment(
        held_out=np.array([int.from_bytes(mac[:8], "big") < held_out_share * 2**64 for mac in macs], dtype=np.bool_),
        partition=np.array([int.from_bytes(mac[8:16], "big") % partitions for mac in macs], dtype=np.int64),
    )


def one_per_group(table: Table, key: SiteKey) -> NDArray[np.bool_]:
    """One record of each group, the one with the smallest MAC of its canonical columns, shape (n,).

    Which one does not depend on the table's order nor on other groups. Records without a group id are left out.
    """
    smallest: dict[str, tuple[bytes, int]] = {}
    for index, (group, record) in enumerate(zip(table.groups or (), _record_ids(table), strict=True)):
        if group:
            smallest[group] = min(smallest.get(group, (b"\xff" * 33, -1)), (key.mac(record), index))
    chosen = np.zeros(len(table), dtype=np.bool_)
    chosen[[index for _, index in smallest.values()]] = True
    return chosen


def dirichlet_partition(
    labels: NDArray[np.int64], partitions: int, concentration: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Label-skewed partitions for experiments on public data: each class is spread by Dirichlet(concentration).

    Reads the labels and takes a seeded generator, so no site uses it.
    """
    assigned = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(partitions, concentration))
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for partition, chunk in enumerate(np.split(members, cuts)):
            assigned[chunk] = partition
    return assigned
