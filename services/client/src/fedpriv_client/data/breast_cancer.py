"""The Wisconsin breast-cancer table as files: a public validation fifth, and the records that the sites share out."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.contract import DataContract, load_contract
from fedpriv_common.table import Table

CONTRACT = "breast-cancer-wisconsin"
RECORDS_FILE = "records.csv"
VALIDATION_FILE = "public-validation.csv"


def load_table() -> tuple[DataContract, Table]:
    """The published table in its own units, columns in the contract's order, malignant as class 1."""
    from sklearn.datasets import load_breast_cancer  # takes a second, and only the demo needs it

    contract = load_contract(CONTRACT)
    published = load_breast_cancer()
    order = [list(published.feature_names).index(feature.name) for feature in contract.features]
    classes = [contract.label.classes.index(str(name)) for name in published.target_names]
    return contract, Table(
        features=np.asarray(published.data, dtype=np.float64)[:, order],
        labels=np.array(classes, dtype=np.int64)[published.target],
        groups=None,
    )


def public_fifth(table: Table) -> NDArray[np.bool_]:
    """The fixed fifth that is public: the records whose hash is among the smallest fifth, shape (n,)."""
    hashes = [hashlib.sha256(row.tobytes()).digest() for row in table.features]
    chosen = np.zeros(len(table), dtype=np.bool_)
    chosen[sorted(range(len(table)), key=hashes.__getitem__)[: round(len(table) / 5)]] = True
    return chosen


def write_files(folder: Path, public_folder: Path | None = None) -> tuple[Path, Path]:
    """Write records.csv to `folder` and public-validation.csv to `public_folder`, by default the same; returns their
    paths. Each appears whole or not at all."""
    contract, table = load_table()
    public = public_fifth(table)
    records, validation = folder / RECORDS_FILE, (public_folder or folder) / VALIDATION_FILE
    for path, chosen in ((records, ~public), (validation, public)):
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        _write_csv(written, contract, table.take(chosen))
        written.replace(path)
    return records, validation


def _write_csv(path: Path, contract: DataContract, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([feature.name for feature in contract.features] + [contract.label.column])
        for row, label in zip(table.features, table.labels, strict=True):
            writer.writerow([repr(float(cell)) for cell in row] + [contract.label.classes[label]])
