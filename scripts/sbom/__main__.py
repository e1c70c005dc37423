"""`python -m scripts.sbom SERVICE=IMAGE...`; `make sbom` gives it the four images. See docs/reference/licences.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fedpriv_common.errors import EXIT_STATUS, ErrorCode, FedprivError
from scripts.demo.stop import Stopped, raise_when_asked
from scripts.sbom.image import read_image
from scripts.sbom.inventory import Package, inventory
from scripts.sbom.licences import Policy
from scripts.sbom.report import bill, licence_table, refusals, summary


def main(arguments: list[str] | None = None) -> int:
    """Write the bills and the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.sbom", description="Says what images hold.")
    parser.add_argument("images", nargs="+", metavar="SERVICE=IMAGE", help="for example server=fedpriv-server:latest")
    parser.add_argument("--output", type=Path, default=Path("var/sbom"), help="where to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    raise_when_asked()  # so that no container is left behind
    try:
        return _describe(dict(map(_pair, options.images)), options.output)
    except FedprivError as error:
        _say(str(error))
        return error.exit_status
    except Stopped as stopped:
        return 128 + stopped.number


def _pair(argument: str) -> tuple[str, str]:
    service, _, reference = argument.partition("=")
    if not (service and reference) or "/" in service:
        raise FedprivError(
            ErrorCode.BAD_SETTING, f"{argument!r} is not SERVICE=IMAGE.", "Example: server=fedpriv-server."
        )
    return service, reference


def _describe(references: dict[str, str], output: Path) -> int:
    policy = Policy.load()
    held: dict[str, list[Package]] = {}
    bills: dict[str, str] = {}
    for service, reference in sorted(references.items()):
        image = read_image(service, reference)
        try:
            held[service] = inventory(image.files)
        except FedprivError as error:
            raise FedprivError(error.code, f"{reference}: {error.message}", error.remedy) from error
        bills[service] = bill(image, held[service], policy)

    output.mkdir(parents=True, exist_ok=True)
    for service, text in bills.items():
        path = output / f"{service}.cdx.json"
        path.write_text(text)
        print(f"{path}: {summary(held[service])}")  # noqa: T201 - for a person
    table = output / "licences.md"
    table.write_text(licence_table(held, policy))

    if refused := refusals(held, policy):
        _say("\n".join(refused))
        _say("Replace them, or read their licences and add reviews to scripts/sbom/licences.toml.")
        return EXIT_STATUS[ErrorCode.LICENCE_REFUSED]
    print(f"{table}: every licence is accepted")  # noqa: T201 - for a person
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - for a person


if __name__ == "__main__":
    sys.exit(main())
