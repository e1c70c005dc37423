"""Which form of things a folder holds, so that a version that does not know the form leaves them alone."""

from __future__ import annotations

from pathlib import Path

from fedpriv_common.errors import ErrorCode, FedprivError

#: Form of what this version keeps in its folders. It grows when an older version could not read them any more.
FORM = 1
_FILE = "form"


def stamp(folder: Path, what: str) -> None:
    """Mark a folder, made if it is not there, with this version's form; one without a mark has form 1.

    `what` says in errors which setting names the folder. Raises OTHER_VERSION, and changes nothing, when the mark is
    of a form that this version does not know; BAD_SETTING when the folder cannot be used.
    """
    mark = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = mark.read_text().strip() if mark.exists() else None
        if found is None:
            written = mark.with_suffix(".new")
            written.write_text(f"{FORM}\n")
            written.replace(mark)
    except OSError as error:
        raise FedprivError(
            ErrorCode.BAD_SETTING,
            f"{what}: {folder} cannot be used ({error.strerror}).",
            "Give a folder that this user may write, and that nothing else writes to.",
        ) from None
    if found not in (None, str(FORM)):
        raise FedprivError(
            ErrorCode.OTHER_VERSION,
            f"{what}: {folder} holds form {found!r} of its files, this version knows form {FORM}.",
            "Run the version that wrote it, or give this one a folder of its own.",
        )
