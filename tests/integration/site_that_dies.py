"""`fedpriv-site`, killed by itself at one exact point of round 3: just before its ledger commits, or just after.

Nothing of the product is replaced: the ledger's commit is only watched from outside.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from fedpriv_client.main import main
from fedpriv_client.privacy.ledger.ledger import Ledger

BEFORE_COMMIT, AFTER_COMMIT = "before-commit", "after-commit"
ROUND = 3

if __name__ == "__main__":
    commit = Ledger.commit

    def watched(self: Ledger, run_id: str, round_number: int, *rest: Any) -> bytes:
        dies_at = os.environ["DIES_AT"] if round_number == ROUND else ""
        if dies_at == BEFORE_COMMIT:
            os.kill(os.getpid(), signal.SIGKILL)
        payload = commit(self, run_id, round_number, *rest)
        if dies_at == AFTER_COMMIT:
            os.kill(os.getpid(), signal.SIGKILL)
        return payload

    Ledger.commit = watched  # type: ignore[method-assign]
    main()
