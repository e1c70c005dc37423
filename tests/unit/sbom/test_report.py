"""The bill is valid CycloneDX and the same for the same image; table and refusals say which image holds what."""

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from scripts.sbom.image import read_files
from scripts.sbom.inventory import Package, inventory
from scripts.sbom.licences import Policy, Review
from scripts.sbom.report import bill, licence_table, refusals, summary
from tests.unit.sbom.images import BASE, SITE, distribution, files, image, stream
from tests.unit.sbom.test_inventory import CRATE, carried

POLICY = Policy(frozenset({"MIT", "Apache-2.0", "Python-2.0.1"}), {"libgomp": Review("GPL-3.0-only", "the compiler's")})
CONTENTS = {
    **BASE,
    **distribution("a", "1", "License-Expression: MIT OR Apache-2.0"),
    **distribution("silent", "2"),
    f"{SITE}/a-1.dist-info/sboms/a.cdx.json": carried(CRATE),
    f"{SITE}/b-1.dist-info/sboms/b.cdx.json": carried({**CRATE, "licenses": []}),
    f"{SITE}/c-1.dist-info/sboms/c.cdx.json": carried({**CRATE, "licenses": [{"expression": "MIT"}]}),
    f"{SITE}/x.libs/libgomp-12.so.1.0.0": "bytes",
    "usr/share/doc/dash/copyright": "Format: 1.0\n\nLicense: BSD-3-clause | GPL-2+\n",
}


def bill_of(contents) -> str:
    content = read_files(stream(contents))
    return bill(image(content), inventory(content), POLICY)


def test_the_bill_is_valid_cyclonedx():
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill_of(CONTENTS.items()))
    assert problem is None, problem


def test_the_validator_would_notice():
    broken = bill_of(CONTENTS.items()).replace('"library"', '"book"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken)


@given(st.permutations(list(CONTENTS.items())))
def test_the_same_files_give_the_same_bytes_in_whatever_order_they_come(contents):
    assert bill_of(contents) == bill_of(CONTENTS.items())


def test_another_content_is_another_bill():
    more = {**CONTENTS, **distribution("b", "1", "License-Expression: MIT")}
    serials = {json.loads(bill_of(contents.items()))["serialNumber"] for contents in (CONTENTS, more)}
    assert len(serials) == 2


def test_the_bill_names_its_image_and_every_package_once():
    document = json.loads(bill_of(CONTENTS.items()))
    references = [component["bom-ref"] for component in document["components"]]
    assert document["metadata"]["component"]["version"] == image(files()).identifier
    assert document["metadata"]["timestamp"] == "2026-03-01T00:00:00+00:00"
    assert len(references) == len(set(references))
    assert document["dependencies"][0]["dependsOn"] == references


def test_a_person_reads_how_many_packages_there_are():
    assert summary(inventory(read_files(stream(CONTENTS.items())))) == (
        "2 Python, 1 Rust, 1 native library, 1 other, 1 system, 2 Debian"
    )


def test_the_table_says_which_images_hold_what_under_which_licence():
    packages = inventory(read_files(stream(CONTENTS.items())))
    table = licence_table(
        {"server": packages, "client": packages, "dashboard": inventory(files())}, POLICY
    ).splitlines()
    assert "| Python | a | 1 | Apache-2.0 OR MIT | client, server |" in table
    assert "| Python | silent | 2 | **unknown** | client, server |" in table
    assert "| Debian | dash | 0.5.12-2 | BSD-3-clause \\| GPL-2+ | client, server |" in table
    assert "| Debian | dash | 0.5.12-2 |  | dashboard |" in table
    assert "| libgomp | GPL-3.0-only | the compiler's |" in table


def test_each_package_that_is_not_accepted_is_one_line():
    bad = Package("pypi", "bad", "1", ("GPL-3.0-only",))
    text = Package("npm", "odd", "", ("Copyright (c)\n  somebody " + "x" * 200,))
    held = {"client": [bad, text], "server": [Package("pypi", "fine", "1", ("MIT",)), bad]}
    lines = refusals(held, POLICY)
    assert lines[0] == "LICENCE_REFUSED: bad 1 is under GPL-3.0-only, in client, server."
    assert lines[1].startswith("LICENCE_REFUSED: odd is under an unknown licence (Copyright (c) somebody xxx")
    assert len(lines) == 2
    assert all("\n" not in line and len(line) < 160 for line in lines)
