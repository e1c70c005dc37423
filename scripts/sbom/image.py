"""An image's files, as the engine exports them: nothing of the image is run and nothing is unpacked."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from fedpriv_common.errors import ErrorCode, FedprivError

#: Files that tell what is installed; of every other file the path is enough.
_TELLING = re.compile(
    r".*\.dist-info/(METADATA|RECORD|sboms/[^/]+\.json)|.*\.egg-info/PKG-INFO|.*\.(cdx|cyclonedx)\.json"
    r"|var/lib/dpkg/status|(etc|usr/lib)/os-release|usr/share/doc/[^/]+/copyright"
    r"|.*/pyvenv\.cfg|usr/local/include/python3\.\d+/patchlevel\.h"
)
#: Libraries of others that a wheel brings: those beside it in NAME.libs, and those that kept their version suffix.
FOREIGN_LIBRARY = re.compile(r".*/site-packages/(.*/)?([^/]+\.libs/[^/]+\.so[^/]*|lib[^/]+\.so\.\d[^/]*)")


@dataclass
class Files:
    """Paths without the leading slash: all that are regular files, and what the telling ones hold."""

    paths: set[str] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """An image of a service: the engine's identifier (sha256:…), when it was built, and its files."""

    service: str
    identifier: str
    created: datetime
    files: Files


def read_files(stream: IO[bytes]) -> Files:
    """Read a tar stream once, front to back."""
    files = Files()
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if not member.isfile():
                continue
            files.paths.add(path)
            telling, foreign = _TELLING.fullmatch(path), FOREIGN_LIBRARY.fullmatch(path)
            if (telling or foreign) and (content := archive.extractfile(member)):
                if foreign:
                    files.sha256[path] = hashlib.sha256(content.read()).hexdigest()
                else:
                    files.contents[path] = content.read()
    # In one order, whatever the stream's was.
    return Files(files.paths, dict(sorted(files.contents.items())), dict(sorted(files.sha256.items())))


def read_image(service: str, reference: str) -> Image:
    """Read the image that `reference` names.

    Raises:
        FedprivError: MISSING_TOOL without an engine, BAD_SETTING without such an image.
    """
    if shutil.which("docker") is None:
        raise FedprivError(ErrorCode.MISSING_TOOL, "The `docker` command is not installed.", "Install Docker Engine.")
    _docker(ErrorCode.MISSING_TOOL, "Start Docker Engine, or set DOCKER_HOST to where it listens.", "version")
    name_one = f"Build {service}'s image first, or give the name it has: {service}=IMAGE."
    found = _docker(ErrorCode.BAD_SETTING, name_one, "image", "inspect", "--format={{.Id}} {{.Created}}", reference)
    identifier, created = found.split()
    # A container that is made and never started: the engine exports containers, and wants a command to make one.
    retry = f"Free some disk space and run again; {reference} itself was not changed."
    container = _docker(ErrorCode.PROCESS_DIED, retry, "create", "--network=none", identifier, "none").strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None  # noqa: S101 - by stdout=PIPE
            files = read_files(export.stdout)
            while export.stdout.read(1 << 16):  # the padding after the archive's end
                pass
        if export.returncode:
            raise FedprivError(ErrorCode.PROCESS_DIED, f"The engine did not export {reference} to its end.", retry)
    except tarfile.ReadError as error:
        raise FedprivError(
            ErrorCode.PROCESS_DIED, f"The engine's export of {reference} broke off: {error}.", retry
        ) from error
    finally:
        _docker(ErrorCode.PROCESS_DIED, f"Remove it: docker rm {container}.", "rm", "--force", "--volumes", container)
    return Image(service, identifier, datetime.fromisoformat(created), files)


def _docker(code: ErrorCode, remedy: str, *arguments: str) -> str:
    """What a docker command prints; `code` and `remedy` say what its failure means."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FedprivError(code, f"`docker {arguments[0]}` failed: {said[-1]}", remedy)
    return done.stdout
