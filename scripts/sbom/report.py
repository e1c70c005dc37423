"""The bill of materials of one image, and the table of licences of all. The same images give the same bytes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from scripts.sbom.image import Image
from scripts.sbom.inventory import Package
from scripts.sbom.licences import Policy

#: How a person names the kinds of packages, in the order of the table; "other" is what has no name here.
KINDS = {
    "pypi": "Python", "npm": "npm", "cargo": "Rust", "native": "native library", "rpm": "native library",
    "generic": "other", "os": "system", "deb": "Debian",
}  # fmt: skip


def summary(packages: list[Package]) -> str:
    """How many packages of each kind there are."""
    counts = Counter(KINDS.get(package.kind, "other") for package in packages)
    return ", ".join(f"{counts[kind]} {kind}" for kind in dict.fromkeys(KINDS.values()) if counts[kind])


def bill(image: Image, packages: list[Package], policy: Policy) -> str:
    """CycloneDX 1.6 as JSON. Its time is when the image was built, and its serial number follows from the rest."""
    container = {
        "type": "container", "bom-ref": image.identifier, "name": image.service, "version": image.identifier,
    }  # fmt: skip
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": image.created.isoformat(), "component": container},
        "components": [_component(package, policy) for package in packages],
        "dependencies": [{"ref": image.identifier, "dependsOn": [package.reference for package in packages]}],
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=1, ensure_ascii=False) + "\n"


def _component(package: Package, policy: Policy) -> dict[str, Any]:
    licence = policy.licence(package)
    # Debian's short names are not SPDX's, though some are spelt alike.
    named = [{"license": {"name": statement}} for statement in package.statements]
    fields = {
        "type": "operating-system" if package.kind == "os" else "library",
        "bom-ref": package.reference,
        "name": package.name,
        "version": package.version,
        "purl": str(package.purl or ""),
        "licenses": named if package.kind == "deb" else [{"expression": licence}] if licence else [],
        "hashes": [{"alg": algorithm, "content": content} for algorithm, content in package.hashes],
        "evidence": {"occurrences": [{"location": f"/{path}"} for path in package.found]} if package.found else {},
    }
    return {name: value for name, value in fields.items() if value}


def licence_table(held: dict[str, list[Package]], policy: Policy) -> str:
    """Every package of all images (`held` by service) with its licence, as Markdown; then why each exception is one."""
    order = list(dict.fromkeys(KINDS.values()))
    services: defaultdict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    exceptions = set()
    for service, packages in held.items():
        for package in packages:
            licence = policy.licence(package) or ("" if policy.accepts(package) else "**unknown**")
            services[KINDS.get(package.kind, "other"), package.name, package.version, licence].add(service)
            if review := policy.exception(package):
                exceptions.add((package.name, review.licence, review.reason))
    rows = sorted(services.items(), key=lambda row: (order.index(row[0][0]), row[0][1].lower(), row[0]))
    return "\n".join([
        "# Licences of what the images hold", "",
        "Debian's packages are the base image's: listed with what their copyright files name, not judged.", "",
        *_table("kind", "package", "version", "licence", "images"),
        *(_row(*names, ", ".join(sorted(where))) for names, where in rows), "",
        "## Accepted beside the allow-list", "",
        *_table("package", "licence", "reason"),
        *(_row(*exception) for exception in sorted(exceptions, key=lambda names: names[0].lower())), "",
    ])  # fmt: skip


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(*heads: str) -> list[str]:
    return [_row(*heads), "|---" * len(heads) + "|"]


def refusals(held: dict[str, list[Package]], policy: Policy) -> list[str]:
    """One line for each package that is not accepted: which, its licence, and the images that hold it."""
    services: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for service, packages in held.items():
        for package in packages:
            if not policy.accepts(package):
                said = " ".join(" or ".join(package.statements).split()) or "it states none"
                licence = policy.licence(package) or f"an unknown licence ({said:.60})"
                services[package.name, package.version, licence].append(service)
    return [
        f"LICENCE_REFUSED: {f'{name} {version}'.strip()} is under {licence}, in {', '.join(dict.fromkeys(where))}."
        for (name, version, licence), where in services.items()
    ]
