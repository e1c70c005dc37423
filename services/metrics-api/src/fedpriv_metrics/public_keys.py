"""The folder of public keys that statements are checked with, as `fedpriv provision` leaves it for auditors.

    hub.pem                            the hub's key
    sites/<site>.pem                   each site's
    former/<hub|site>-until-<when>.pem keys that were replaced, for what they signed

Keys are public; that nobody but whoever runs the API can change them here is what the check rests on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

#: Files that are read, and bytes of each: a key has two hundred.
MOST_FILES = 5000
MOST_BYTES = 10_000
#: Seconds for which what was read holds.
FRESH_S = 5.0


class PublicKeys:
    """The folder's files as they are now, read again when some seconds have passed."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._read_at = -FRESH_S
        self._files: dict[str, str] = {}
        self._fault = ""

    def read(self) -> tuple[dict[str, str], str]:
        """PEM text by path in the folder, and why there is none: a sentence, empty when there are keys."""
        if self._clock() - self._read_at >= FRESH_S:
            self._files, self._fault = self._load()
            self._read_at = self._clock()
        return self._files, self._fault

    def digest(self) -> str:
        """Names the keys: what was checked with other ones has to be checked again."""
        files, _ = self.read()
        return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()

    def _load(self) -> tuple[dict[str, str], str]:
        if self._folder is None:
            return {}, "This metrics API has been given no public keys: FEDPRIV_AUDITOR_KEYS names their folder."
        files = {}
        try:
            paths = [self._folder / "hub.pem"]
            for name in ("sites", "former"):
                paths += sorted((self._folder / name).glob("*.pem"))
            for path in paths[:MOST_FILES]:
                if path.is_file():
                    with path.open("rb") as file:
                        files[str(path.relative_to(self._folder))] = file.read(MOST_BYTES).decode("ascii", "replace")
        except OSError as error:
            return {}, f"The folder of public keys cannot be read ({error.strerror})."
        if "hub.pem" not in files:
            return {}, "The folder of public keys (FEDPRIV_AUDITOR_KEYS) holds no hub.pem."
        return files, ""
