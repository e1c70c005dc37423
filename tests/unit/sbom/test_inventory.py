"""What is installed is told by the image's files, and by nothing else."""

import hashlib
import json

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from scripts.sbom.inventory import Package, inventory
from tests.unit.sbom.images import BASE, SITE, distribution, files, read_files, stream


def named(name: str, packages: list[Package]) -> Package:
    [package] = [package for package in packages if package.name == name]
    return package


def carried(*components: dict[str, object]) -> str:
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components})


CRATE = {
    "type": "library",
    "name": "serde",
    "version": "1.0.2",
    "purl": "pkg:cargo/serde@1.0.2",
    "licenses": [{"expression": "MIT OR Apache-2.0"}],
    "hashes": [{"alg": "SHA-256", "content": "0a" * 32}],
}


def test_an_installed_distribution_is_named_by_its_own_metadata():
    metadata = distribution("Jinja2", "3.1.6+local", "License-Expression: BSD-3-Clause")
    package = named("Jinja2", inventory(files(**metadata)))
    assert str(package.purl) == "pkg:pypi/jinja2@3.1.6%2Blocal"
    assert package.statements == ("BSD-3-Clause",)
    assert package.found == tuple(metadata)


def test_a_licence_that_is_mentioned_in_the_description_is_none():
    metadata = distribution("a", "1", "", "License-Expression: MIT")
    assert named("a", inventory(files(**metadata))).statements == ()


@pytest.mark.parametrize(
    ("classifiers", "statements"),
    [
        (["OSI Approved :: MIT License"], ("MIT",)),
        (["OSI Approved", "OSI Approved :: MIT License"], ("MIT",)),
        (["OSI Approved :: BSD License"], ()),
        (["OSI Approved :: MIT License", "OSI Approved :: Apache Software License"], ()),
    ],
)
def test_a_classifier_counts_when_it_is_the_only_one_and_exact(classifiers, statements):
    lines = [f"Classifier: License :: {text}" for text in classifiers]
    assert named("a", inventory(files(**distribution("a", "1", *lines)))).statements == statements


def test_the_projects_own_packages_claim_no_name_on_a_public_index():
    package = named("fedpriv-common", inventory(files(**distribution("fedpriv-common", "0.1.0"))))
    assert str(package.purl) == "pkg:generic/fedpriv-common@0.1.0"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("srv/env/pyvenv.cfg", "home = /usr/local/bin\nversion = 3.12.1\n"),
        ("usr/local/include/python3.12/patchlevel.h", '#define PY_VERSION      \t"3.12.1"\n'),
    ],
)
def test_the_interpreter_is_a_package(path, content):
    base = {name: text for name, text in BASE.items() if not name.endswith(".cfg")}
    packages = inventory(read_files(stream([*base.items(), (path, content)])))
    assert str(named("python", packages).purl) == "pkg:generic/python@3.12.1"


def test_debian_packages_are_those_that_dpkg_calls_installed():
    packages = [package for package in inventory(files()) if package.kind == "deb"]
    assert [package.name for package in packages] == ["dash", "libc6"]
    assert named("libc6", packages).purl.to_dict()["qualifiers"] == {
        "arch": "amd64",
        "distro": "debian-12",
        "upstream": "glibc",
    }


def test_debian_licences_are_read_where_the_copyright_file_is_for_machines():
    notices = {
        "usr/share/doc/dash/copyright": "Format: 1.0\n\nFiles: *\nLicense: GPL-2+ \n text\nLicense: BSD-3-clause\n",
        "usr/share/doc/libc6/copyright": "This is free.\nLicense: no field, but prose\n",
    }
    packages = inventory(files(**notices))
    assert named("dash", packages).statements == ("BSD-3-clause", "GPL-2+")
    assert named("libc6", packages).statements == ()


def test_what_two_wheels_carry_is_one_package_found_in_both():
    lists = [f"{SITE}/{wheel}-1.dist-info/sboms/{wheel}.cyclonedx.json" for wheel in ("first", "second")]
    package = named("serde", inventory(files(**dict.fromkeys(lists, carried(CRATE)))))
    assert package.found == tuple(lists)
    assert package.hashes == (("SHA-256", "0a" * 32),)
    assert package.statements == ("MIT OR Apache-2.0",)


def test_what_a_wheel_excludes_is_not_in_it_but_what_it_nests_is():
    listed = carried({**CRATE, "name": "unused", "scope": "excluded", "components": [CRATE]})
    names = {package.name for package in inventory(files(**{f"{SITE}/a-1.dist-info/sboms/a.json": listed}))}
    assert "serde" in names
    assert "unused" not in names


@pytest.mark.parametrize("left", ["opt/fedpriv/bin/uv", f"{SITE}/uv/_native.so", None])
def test_a_wheels_list_counts_while_anything_that_was_compiled_is_left(left):
    info = f"{SITE}/uv-0.12.dist-info"
    wheel = {
        f"{info}/RECORD": "../../../bin/uv,sha256=x,1\nuv/_native.so,sha256=y,2\nuv/__init__.py,,\n",
        f"{info}/sboms/uv.cyclonedx.json": carried(CRATE),
        f"{SITE}/uv/__init__.py": "",
    }
    packages = inventory(files(**wheel, **({left: b"\x7fELF"} if left else {})))
    assert any(package.name == "serde" for package in packages) == (left is not None)


def test_a_distribution_that_its_wheel_lists_again_is_itself():
    again = {"type": "library", "name": "sk_learn", "version": "1", "purl": "pkg:pypi/sk_learn@1?file_name=x.whl"}
    metadata = distribution("sk-learn", "1", "License-Expression: BSD-3-Clause")
    packages = inventory(
        files(**metadata, **{f"{SITE}/sk_learn-1.dist-info/sboms/auditwheel.cdx.json": carried(again)})
    )
    package = named("sk-learn", packages)
    assert [other.name for other in packages if other.kind == "pypi"] == ["sk-learn"]
    assert len(package.found) == 2


def test_libraries_of_others_are_packages_by_what_their_bytes_are():
    libraries = {
        f"{SITE}/numpy.libs/libgfortran-04-03.so.5.0.0": b"fortran",
        f"{SITE}/scipy.libs/libgfortran-04-03.so.5.0.0": b"fortran",
        f"{SITE}/torch/lib/libgomp.so.1": b"openmp",
        f"{SITE}/torch/lib/libtorch.so": b"its own",
    }
    packages = [package for package in inventory(files(**libraries)) if package.kind == "native"]
    assert [(package.name, package.version) for package in packages] == [("libgfortran", "5.0.0"), ("libgomp", "1")]
    assert packages[0].hashes == (("SHA-256", hashlib.sha256(b"fortran").hexdigest()),)
    assert packages[0].found == tuple(list(libraries)[:2])


def test_a_page_is_described_by_the_list_that_its_build_left():
    inter = {"name": "@font/inter", "version": "5.3.0", "purl": "pkg:npm/%40font/inter@5.3.0"}
    inter["licenses"] = [{"license": {"id": "OFL-1.1"}}, {"license": {"name": "Custom"}}]
    page = {"usr/share/nginx/html/assets/index-abc.js": "page()", "usr/share/doc/page/bundled.cdx.json": carried(inter)}
    package = named("@font/inter", inventory(files(**page)))
    assert (package.kind, str(package.purl)) == ("npm", "pkg:npm/%40font/inter@5.3.0")
    assert package.statements == ("(OFL-1.1) AND (Custom)",)


def test_a_script_that_a_python_package_brings_is_no_page():
    assert inventory(files(**{f"{SITE}/fastapi/assets/docs.js": ""}))


@pytest.mark.parametrize(
    ("lost", "added", "said"),
    [
        ("var/lib/dpkg/status", {}, "Debian packages"),
        ("usr/lib/os-release", {}, "Debian packages"),
        ("opt/fedpriv/pyvenv.cfg", distribution("a", "1"), "pyvenv.cfg"),
        (None, {"usr/share/nginx/html/assets/index-abc.js": "page()"}, "npm packages"),
    ],
)
def test_what_nothing_records_is_refused(lost, added, said):
    kept = {path: content for path, content in {**BASE, **added}.items() if path != lost}
    with pytest.raises(FedprivError, match=said) as refused:
        inventory(read_files(stream(kept.items())))
    assert refused.value.code is ErrorCode.BAD_SETTING
