"""Tar streams as the engine exports them, with the files of a small image in them."""

import io
import tarfile
from collections.abc import Iterable
from datetime import UTC, datetime

from scripts.sbom.image import Files, Image, read_files

SITE = "opt/fedpriv/lib/python3.11/site-packages"
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
STATUS = """\
Package: libc6
Status: install ok installed
Source: glibc
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Holds the standard libraries.

Package: dash
Status: install ok installed
Architecture: amd64
Version: 0.5.12-2

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
#: What every image of a Python service holds.
BASE = {
    "usr/lib/os-release": OS_RELEASE,
    "var/lib/dpkg/status": STATUS,
    "opt/fedpriv/pyvenv.cfg": "home = /usr/local/bin\nversion = 3.11.9\n",
}


def stream(members: Iterable[tuple[str, str | bytes]]) -> io.BytesIO:
    """A tar stream of regular files, in this order, after a folder and a link as real ones have them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("etc", tarfile.DIRTYPE), ("etc/os-release", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../usr/lib/os-release"
            archive.addfile(member)
        for path, content in members:
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def files(**more: str | bytes) -> Files:
    """The files of the base and more, by path."""
    return read_files(stream({**BASE, **more}.items()))


def image(content: Files) -> Image:
    return Image("server", "sha256:" + "ab" * 32, datetime(2026, 3, 1, tzinfo=UTC), content)


def distribution(name: str, version: str, *fields: str) -> dict[str, str]:
    """The METADATA of an installed distribution with these fields besides its name and version."""
    text = "\n".join([f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}", *fields, "", "Licence: not a field"])
    return {f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA": text}
