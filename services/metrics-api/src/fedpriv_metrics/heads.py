"""The ledger heads that a site told in one run, in flat arrays: a hash as text would take three times as much."""

from __future__ import annotations

from array import array
from collections.abc import Iterator


class Heads:
    """One head per record: its round, the rank of its phase, the entry's number and hash. In no order."""

    __slots__ = ("_hashes", "_ranks", "_rounds", "_seqs")

    def __init__(self) -> None:
        self._rounds = array("I")
        self._ranks = array("B")
        self._seqs = array("Q")
        self._hashes = bytearray()

    def __len__(self) -> int:
        return len(self._rounds)

    def put(self, number: int, rank: int, seq: int, head: str) -> int | None:
        """Add what the record of round `number` told. What is no number and no hash tells nothing and is left out.

        Returns the place at which `at` gives back the same, None where it would not.
        """
        try:
            digest = bytes.fromhex(head)
        except ValueError:
            return None
        if len(digest) != 32 or not 0 <= seq < 2**63:
            return None
        self._rounds.append(number)
        self._ranks.append(rank)
        self._seqs.append(seq)
        self._hashes += digest
        return len(self._rounds) - 1 if digest.hex() == head else None

    def at(self, place: int) -> tuple[int, str]:
        """Entry number and hash of the head that was added as the `place`-th, from 0."""
        return self._seqs[place], self._hashes[32 * place : 32 * place + 32].hex()

    def __iter__(self) -> Iterator[tuple[int, int, int, str]]:
        """Round, rank, entry number and hash of each."""
        for place, number in enumerate(self._rounds):
            digest = self._hashes[32 * place : 32 * place + 32]
            yield number, self._ranks[place], self._seqs[place], digest.hex()
