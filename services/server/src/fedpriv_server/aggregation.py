"""How one vector is made of the replies of a round. Pure functions; every site weighs the same, whatever it holds.

The robust ones (trimmed mean, Krum) work on values that already carry their noise: post-processing, no epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedpriv_common.wire import FloatArray


def total(replies: Sequence[FloatArray]) -> FloatArray:
    """The sum, in the order given: floating-point addition is not associative, and a resumed run must agree.

    Raises ValueError for no replies, or replies of different shapes, as do all functions here.
    """
    _require_alike(replies)
    added = np.zeros_like(replies[0])
    for reply in replies:
        added = added + reply
    return added


def mean(replies: Sequence[FloatArray]) -> FloatArray:
    """ΣΔ/K over the K replies received (FedAvg: McMahan et al. 2017, algorithm 1, with equal weights)."""
    return total(replies) / len(replies)


def trimmed_mean(replies: Sequence[FloatArray], beta: float) -> FloatArray:
    """Per coordinate, the mean without the ⌊βK⌋ smallest and the ⌊βK⌋ largest values (Yin et al. 2018, definition 2).

    Tolerates up to ⌊βK⌋ hostile sites. `beta` is at least 0 and below 1/2, so that somebody is left.
    """
    _require_alike(replies)
    if not 0.0 <= beta < 0.5:
        raise ValueError(f"a share of {beta} trimmed from both ends leaves nobody")
    cut = int(beta * len(replies))
    ordered = np.sort(np.stack(replies), axis=0)
    return np.asarray(ordered[cut : len(replies) - cut].mean(axis=0), dtype=np.float64)


def krum(replies: Sequence[FloatArray], num_malicious_nodes: int) -> FloatArray:
    """The one reply with the least sum of squared distances to its K − f − 2 nearest others (Blanchard et al. 2017).

    Raises ValueError for fewer than 2f + 3 replies, below which f hostile sites can choose the result (proposition
    4.2). Of equal scores, the first reply's is taken.
    """
    _require_alike(replies)
    if len(replies) < 2 * num_malicious_nodes + 3:
        raise ValueError(f"krum against {num_malicious_nodes} malicious sites cannot choose among {len(replies)}")
    # Differences, not ‖x‖² + ‖y‖² − 2x·y: that loses all digits where replies are long and near each other.
    squared = np.array([[np.sum((one - other) ** 2) for other in replies] for one in replies])
    np.fill_diagonal(squared, np.inf)
    nearest = np.sort(squared, axis=1)[:, : len(replies) - num_malicious_nodes - 2]
    return replies[int(np.argmin(nearest.sum(axis=1)))].copy()


def _require_alike(replies: Sequence[FloatArray]) -> None:
    if not replies:
        raise ValueError("a step needs at least one reply")
    for reply in replies:
        if reply.shape != replies[0].shape:
            raise ValueError(f"replies of shapes {replies[0].shape} and {reply.shape}")
