"""What an image's files say is installed: Debian, Python and npm packages, and what these carry inside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from email import message_from_string
from itertools import chain
from posixpath import basename, normpath
from typing import Any
from urllib.parse import quote

from packageurl import PackageURL

from fedpriv_common.errors import ErrorCode, FedprivError
from scripts.sbom.image import Files

#: SPDX identifiers of the classifiers that name exactly one licence; "BSD License", for one, does not.
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
#: In copyright files of the format that machines can read.
_DEBIAN_LICENCE = re.compile(r"^License:[ \t]*(\S.*?)[ \t]*$", re.M)
#: A page's bundled code, if no Python package brings it.
_PAGE_SCRIPT = re.compile(r"(?!.*/site-packages/).*/assets/[^/]+\.js")
_KEEP_NPM_LIST = "Keep what `npm sbom --sbom-format cyclonedx --omit dev` says in its build as a *.cdx.json file in it."


@dataclass(frozen=True)
class Package:
    """One thing that is installed.

    `kind` is the type of its package URL, or "native" for a library's file. `statements` are what it says of its
    licence itself, in order of authority and as it says them; `found` are the files that tell of it.
    """

    kind: str
    name: str
    version: str
    statements: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    purl: PackageURL | None = None

    @property
    def reference(self) -> str:
        """What is the same for the same package wherever it is found."""
        return str(self.purl) if self.purl else f"{self.name}@sha256:{self.hashes[0][1]}"


def inventory(files: Files) -> list[Package]:
    """Every package of an image, sorted; one that is found in several places once, with all of them.

    Raises:
        FedprivError: BAD_SETTING for an image that holds something without the record that would name it.
    """
    packages: dict[str, Package] = {}
    # What is installed speaks for itself before others speak of it.
    for package in chain(_debian(files), _python(files), _runtime(files), _carried(files), _native(files)):
        known = packages.setdefault(package.reference, package)
        found = tuple(sorted({*known.found, *package.found}))
        packages[package.reference] = replace(known, found=found, statements=known.statements or package.statements)
    kinds = {package.kind for package in packages.values()}
    if "pypi" in kinds and not any(package.name == "python" for package in packages.values()):
        raise _unrecorded("Python packages but no pyvenv.cfg", "Install them into a virtual environment.")
    if "npm" not in kinds and any(_PAGE_SCRIPT.fullmatch(path) for path in files.paths):
        raise _unrecorded("a page but no list of the npm packages in it", _KEEP_NPM_LIST)
    return sorted(packages.values(), key=lambda package: (package.kind, package.name.lower(), package.reference))


def _unrecorded(what: str, remedy: str) -> FedprivError:
    return FedprivError(ErrorCode.BAD_SETTING, f"The image holds {what}.", remedy)


def _debian(files: Files) -> Iterator[Package]:
    """dpkg's own list, and the licences that the copyright files name where a machine can read them."""
    status = files.contents.get("var/lib/dpkg/status")
    identity = files.contents.get("etc/os-release") or files.contents.get("usr/lib/os-release")
    if status is None or identity is None:
        raise _unrecorded("no list of its Debian packages", "Keep /var/lib/dpkg/status and /etc/os-release in it.")
    system = dict(re.findall(r'^(\w+)="?(.*?)"?$', identity.decode(), re.M))
    distribution, release = system["ID"], system["VERSION_ID"]
    yield Package("os", distribution, release, purl=PackageURL("generic", None, distribution, release))
    for stanza in status.decode().strip().split("\n\n"):
        package = message_from_string(stanza)
        if "installed" not in package["Status"].split():
            continue
        name, version = package["Package"], package["Version"]
        # Security notices are given for source packages.
        source = re.sub(r" \((.*)\)", r"@\1", package.get("Source", name))
        qualifiers = {
            "arch": package["Architecture"],
            "distro": f"{distribution}-{release}",
            **({"upstream": source} if source != name else {}),
        }
        notice = files.contents.get(f"usr/share/doc/{name}/copyright", b"").decode(errors="replace")
        licences = _DEBIAN_LICENCE.findall(notice) if notice.startswith("Format:") else []
        purl = PackageURL("deb", distribution, name, version, qualifiers)
        yield Package("deb", name, version, tuple(sorted(set(licences))), ("var/lib/dpkg/status",), purl=purl)


def _python(files: Files) -> Iterator[Package]:
    for path, content in files.contents.items():
        if not path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO")):
            continue
        metadata = message_from_string(content.decode(errors="replace"))
        name, version = metadata["Name"], metadata["Version"]
        lines = metadata.get_all("Classifier", [])
        classifiers = {line.split(" :: ")[-1] for line in lines if line.startswith("License ::")} - {"OSI Approved"}
        # Of several, none says whether they are alternatives.
        classifier = classifiers.pop() if len(classifiers) == 1 else ""
        statements = (metadata["License-Expression"], metadata["License"], _CLASSIFIERS.get(classifier))
        # The project's own packages are on no index: what has their name there is another's.
        kind = "generic" if name.startswith("fedpriv-") else "pypi"
        purl = PackageURL(kind, None, name, version)
        yield Package(kind, name, version, tuple(filter(None, statements)), (path,), purl=purl)


def _runtime(files: Files) -> Iterator[Package]:
    """The interpreter, by what its virtual environment or its header tells."""
    for path, content in files.contents.items():
        if path.endswith(("pyvenv.cfg", "patchlevel.h")):
            for version in re.findall(r'^(?:version = |#define PY_VERSION\s+")(\d[\w.+]*)', content.decode(), re.M):
                purl = PackageURL("generic", None, "python", version)
                yield Package("generic", "python", version, ("Python-2.0.1",), (path,), purl=purl)


def _carried(files: Files) -> Iterator[Package]:
    """What CycloneDX files in the image list: in a wheel what was compiled in, beside a page what was bundled."""
    for path, content in files.contents.items():
        if not path.endswith(".json") or not _still_true(path, files):
            continue
        for component in _components(json.loads(content).get("components", [])):
            named, version = component["name"], component.get("version", "")
            purl = PackageURL.from_string(component.get("purl") or f"pkg:generic/{quote(named)}@{quote(version)}")
            if purl.type == "pypi":  # without the wheel's file name, as an installed distribution is named
                purl = PackageURL("pypi", None, purl.name, purl.version)
            hashes = tuple(sorted((entry["alg"], entry["content"]) for entry in component.get("hashes", [])))
            stated = _stated(component.get("licenses", []))
            yield Package(purl.type, named, version, stated, (path,), hashes, purl)


def _still_true(path: str, files: Files) -> bool:
    """Whether anything of what a wheel compiled is left: uv's list, for one, outlives its removed program."""
    info, _, _ = path.partition("/sboms/")
    record = files.contents.get(f"{info}/RECORD", b"").decode()
    compiled = [entry for entry in re.findall(r'^"?([^",]+)', record, re.M) if re.search(r"/bin/|\.so(\.|$)", entry)]
    return not compiled or any(normpath(f"{info}/../{entry}") in files.paths for entry in compiled)


def _components(listed: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for component in listed:
        if component.get("scope") != "excluded":
            yield component
        yield from _components(component.get("components", []))


def _stated(licences: list[dict[str, Any]]) -> tuple[str, ...]:
    """A component's licences as one expression; of several that are listed, all apply."""
    names = [entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in licences]
    return (names[0] if len(names) == 1 else " AND ".join(f"({name})" for name in names),) if names else ()


def _native(files: Files) -> Iterator[Package]:
    """Libraries' files that a wheel brings along, by their names; of these only the hash says exactly what they are."""
    for path, digest in files.sha256.items():
        file = basename(path)
        name, version = re.match(r"[A-Za-z_]+", file), re.search(r"\.so\.([\d.]+)$", file)
        yield Package(
            "native", name[0] if name else file, version[1] if version else "", (), (path,), (("SHA-256", digest),)
        )
