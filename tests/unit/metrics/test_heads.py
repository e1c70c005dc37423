"""Every ledger head that a record tells is kept, whatever order they come in."""

from __future__ import annotations

from fedpriv_metrics.heads import Heads

HASH = "0123456789abcdef" * 4


def test_heads_come_back_as_they_were_told() -> None:
    heads = Heads()
    heads.put(3, 1, 12, HASH)
    heads.put(0, 0, 4, HASH[::-1])

    assert list(heads) == [(3, 1, 12, HASH), (0, 0, 4, HASH[::-1])]


def test_what_is_no_entry_and_no_hash_is_left_out() -> None:
    heads = Heads()
    for seq, head in ((-1, HASH), (2**63, HASH), (1, "no hash"), (1, HASH[:-2])):
        heads.put(1, 1, seq, head)

    assert len(heads) == 0
