"""The learning curve: figures of the model on the public validation set, which no site trains on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.contract import DataContract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.model import evaluate
from fedpriv_common.plan import Plan
from fedpriv_common.records import PublicValidation
from fedpriv_common.table import UNLABELLED, read_csv
from fedpriv_server.strategy import Iterate


@dataclass(frozen=True)
class PublicSet:
    """Standardised features z, shape (n, d), and labels, shape (n,)."""

    name: str
    z: NDArray[np.float64]
    labels: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path, contract: DataContract) -> PublicSet:
        """Read a CSV file as the contract says; raises DATA_FORMAT."""
        table = read_csv(path, contract)
        table = table.take(table.labels != UNLABELLED)
        if len(table) == 0:
            raise FedprivError(
                ErrorCode.DATA_FORMAT,
                f"{path} holds no record with a class of contract {contract.dataset}.",
                "Give a public validation set, or leave FEDPRIV_VALIDATION out.",
            )
        return cls(path.stem, contract.standardise(table.features), table.labels)

    def describe(self) -> PublicValidation:
        """What the run's records say of the set."""
        return PublicValidation(name=self.name, size=len(self.labels))

    def metrics(self, plan: Plan, iterate: Iterate) -> dict[str, float | None]:
        """Accuracy, loss and AUC of the model that would be published now."""
        figures = evaluate(plan.model, iterate.published(), iterate.centre, self.z, self.labels)
        return {"accuracy": figures.accuracy, "loss": figures.loss, "auc": figures.auc}
