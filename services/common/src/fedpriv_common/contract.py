"""The data contract: what a site's table holds, as a data dictionary would say it, never as the records say it.

Preprocessing uses only what is declared here. Nothing is fitted on records, so it costs no privacy.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedpriv_common.canonical import digest
from fedpriv_common.errors import ErrorCode, FedprivError

FloatArray = NDArray[np.float64]

#: Whom a guarantee is for: whoever one record is about, or a patient with all their records at a site.
Unit = Literal["record", "patient"]

#: Two decades of a range are spread by the log transform; it needs no positive lower bound.
_LOG_SPREAD = 99.0

BUILT_IN = {"breast-cancer-wisconsin": "breast_cancer_wisconsin.yaml"}


class Transform(StrEnum):
    """How a feature's declared range [lo, hi], scaled to u in [0, 1], is spread before training."""

    LINEAR = "linear"
    SQRT = "sqrt"
    LOG = "log"


class Feature(BaseModel):
    """One numeric column: declared range, transform, and the value that stands in for a missing cell."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    lo: float
    hi: float
    transform: Transform = Transform.LINEAR
    default: float | None = Field(default=None, description="in the column's unit; none: the middle, z = 0")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.lo < self.hi:
            raise ValueError(f"feature {self.name!r}: lo {self.lo} must be below hi {self.hi}")
        if self.default is not None and not self.lo <= self.default <= self.hi:
            raise ValueError(f"feature {self.name!r}: default {self.default} is outside [{self.lo}, {self.hi}]")
        return self

    def standardise(self, values: FloatArray) -> FloatArray:
        """Map raw values, shape (n,), to z = 2·t((x−lo)/(hi−lo)) − 1 in [−1, 1]; NaN becomes the default."""
        return np.where(np.isnan(values), self.standardised_default(), self._spread(values))

    def standardised_default(self) -> float:
        """The z that stands in for a missing cell."""
        return 0.0 if self.default is None else float(self._spread(np.array([self.default]))[0])

    def _spread(self, values: FloatArray) -> FloatArray:
        scaled = (np.clip(values, self.lo, self.hi) - self.lo) / (self.hi - self.lo)
        match self.transform:
            case Transform.LINEAR:
                spread = scaled
            case Transform.SQRT:
                spread = np.sqrt(scaled)
            case Transform.LOG:
                spread = np.log1p(_LOG_SPREAD * scaled) / np.log1p(_LOG_SPREAD)
        return np.clip(2.0 * spread - 1.0, -1.0, 1.0)


class Label(BaseModel):
    """The column to predict and its classes; a record's label is the index of its class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Annotated[str, Field(min_length=1)]
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=100)]


class DataContract(BaseModel):
    """What every site of a run declares about its table. Sites and server compare digests of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[str, Field(pattern=r"^[a-zA-Z0-9.-]{1,20}$")]
    nominal_size: Annotated[int, Field(gt=0, description="records over all sites, typed by a person")]
    nominal_patients: Annotated[
        int | None, Field(gt=0, description="patients over all sites; runs whose unit is the patient need it")
    ] = None
    label: Label
    group: str | None = Field(default=None, description="column that names the patient of a record")
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=10_000)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = [feature.name for feature in self.features] + [self.label.column]
        if self.group is not None:
            columns.append(self.group)
        twice = {name for name in columns if columns.count(name) > 1}
        if twice:
            raise ValueError(f"columns named twice: {', '.join(sorted(twice))}")
        if len(set(self.label.classes)) != len(self.label.classes):
            raise ValueError("label classes must differ from each other")
        for name, value in (("nominal_size", self.nominal_size), ("nominal_patients", self.nominal_patients)):
            # An exact count would be a statement about the records; two digits are what a person would type.
            if value is not None and len(str(value).rstrip("0")) > 2:
                raise ValueError(f"{name} {value} has more than two significant digits")
        if self.nominal_patients is not None:
            if self.group is None:
                raise ValueError("nominal_patients needs group, the column that names a record's patient")
            if self.nominal_patients > self.nominal_size:
                raise ValueError(f"nominal_patients {self.nominal_patients} is more than nominal_size")
        return self

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return len(self.features)

    @property
    def dataset(self) -> str:
        """The identity under which a ledger charges: name and version, never the content."""
        return f"{self.name}@{self.version}"

    def nominal(self, unit: Unit) -> int:
        """N: declared units over all sites. ValueError for patients where the contract does not declare them."""
        if unit == "record":
            return self.nominal_size
        if self.nominal_patients is None:
            lacks = "nominal_patients" if self.group is not None else "group and nominal_patients"
            raise ValueError(f"the unit is the patient, but contract {self.dataset} has no {lacks}")
        return self.nominal_patients

    def unprotected(self, unit: Unit) -> str | None:
        """What a person must know who reads an epsilon of this unit; None where nothing is left to say.

        Group privacy: k records of one patient are as far apart as k single ones, so that a Gaussian mechanism's μ
        grows k-fold and epsilon at least so (Dong, Roth & Su 2022, "Gaussian differential privacy", theorem 2.14).
        """
        if unit == "patient" or self.group is None:
            return None
        return (
            f"The unit is one record, and column {self.group!r} gives patients several: for a patient with k records "
            "the loss is at least k times this epsilon."
        )

    def digest(self) -> str:
        """SHA-256 of the contract's canonical form."""
        return digest(self.model_dump(mode="json"))

    def standardise(self, raw: FloatArray) -> FloatArray:
        """Map raw cells, shape (n, d) with NaN for missing, to z in [−1, 1], shape (n, d)."""
        if raw.ndim != 2 or raw.shape[1] != self.n_features:
            raise ValueError(f"expected shape (n, {self.n_features}), got {raw.shape}")
        columns = [feature.standardise(raw[:, index]) for index, feature in enumerate(self.features)]
        return np.stack(columns, axis=1)


def load_contract(source: str | Path) -> DataContract:
    """Read a contract: the name of a built-in one, or the path of a YAML file. Raises BAD_CONTRACT."""
    try:
        if str(source) in BUILT_IN:
            text = (files("fedpriv_common") / "contracts" / BUILT_IN[str(source)]).read_text()
        else:
            text = Path(source).read_text()
        return DataContract.model_validate(yaml.safe_load(text))
    except OSError as error:
        fault = error.strerror or "cannot be read"
    except yaml.YAMLError as error:
        fault = f"not YAML: {' '.join(str(error).split())}"
    except ValidationError as error:
        fault = "; ".join(
            f"{'.'.join(str(part) for part in entry['loc']) or 'contract'}: {entry['msg']}"
            for entry in error.errors(include_url=False)
        )
    raise FedprivError(
        ErrorCode.BAD_CONTRACT,
        f"Data contract {source}: {fault}.",
        f"Built-in contracts: {', '.join(BUILT_IN)}; docs/reference/contract.md has the format.",
    )
