"""Which licences the images may hold: the allow-list and the reviews of licences.toml, and the judgement by them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from license_expression import ExpressionError, get_spdx_licensing  # type: ignore[import-untyped] # it has no types

from scripts.sbom.inventory import Package

_SPDX = get_spdx_licensing()
#: What comes with the base image is its maker's choice: listed, not judged.
_BASE_IMAGE = {"deb", "os"}


@dataclass(frozen=True)
class Review:
    """What a person found when reading a package's licence, and why that is accepted."""

    licence: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """The allow-list, and the reviews by package name."""

    allowed: frozenset[str]
    reviews: dict[str, Review]

    @classmethod
    def load(cls) -> Policy:
        """Read licences.toml."""
        document = tomllib.loads(Path(__file__).with_name("licences.toml").read_text())
        reviews = {
            name: Review(canonical(review["licence"]) or review["licence"], review["reason"])
            for name, review in document["reviews"].items()
        }
        return cls(frozenset(document["allowed"]), reviews)

    def licence(self, package: Package) -> str | None:
        """A package's SPDX expression: the first that it states, else the one that was found in review."""
        if package.kind in _BASE_IMAGE:
            return ", ".join(package.statements) or None
        stated = next(filter(None, map(canonical, package.statements)), None)
        review = self.reviews.get(package.name)
        return stated or (review.licence if review else None)

    def exception(self, package: Package) -> Review | None:
        """The review by which a package is accepted, though the allow-list alone does not accept it."""
        review, licence = self.reviews.get(package.name), self.licence(package)
        return review if review and licence == review.licence and not self._allows(licence) else None

    def accepts(self, package: Package) -> bool:
        """Whether the images may hold it. A licence that nobody knows is not accepted."""
        if package.kind in _BASE_IMAGE or self.exception(package):
            return True
        licence = self.licence(package)
        return licence is not None and self._allows(licence)

    def _allows(self, licence: str) -> bool:
        """Of alternatives one has to be allowed, of licences that apply together all."""

        def allows(expression: object) -> bool:
            if isinstance(expression, _SPDX.OR):
                return any(map(allows, expression.args))
            if isinstance(expression, _SPDX.AND):
                return all(map(allows, expression.args))
            return str(expression) in self.allowed

        return allows(_SPDX.parse(licence))


def canonical(statement: str) -> str | None:
    """A statement as an SPDX expression in its one order; None for what is none: a licence's text, "BSD", "UNKNOWN"."""
    try:
        expression = _SPDX.parse(statement, validate=True, strict=True)
    except ExpressionError:
        return None
    return str(expression.simplify()) if expression is not None else None
