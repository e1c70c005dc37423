"""Keys and certificate of a server that runs: files that changed are read again, and bad ones leave all as it was."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from fedpriv_common.errors import FedprivError
from fedpriv_server.credentials import load_certificate, read_allow_list, read_key_hashes
from fedpriv_server.operator import KeyHashes
from fedpriv_server.roster import Roster

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Files that are being written are read once more after so many seconds, and used when they have not changed.
_SETTLE_SECONDS: Final = 0.2


@dataclass(frozen=True)
class KeyFiles:
    """Where they are."""

    sites: Path
    operator_key_hash: Path
    certificate: Path
    certificate_key: Path


class Reload:
    """Looks at the files every `seconds`, and at once after SIGHUP."""

    def __init__(
        self, files: KeyFiles, seconds: float, roster: Roster, key_hashes: KeyHashes, tls: ssl.SSLContext
    ) -> None:
        self._files, self._seconds = files, seconds
        self._roster, self._key_hashes, self._tls = roster, key_hashes, tls
        self._woken = asyncio.Event()
        #: What was last put into force, and the last fault that was told.
        self._sites: dict[str, bytes] | None = None
        self._certificate: bytes | None = None
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._woken.set)
        try:
            self._roster.begin()
            while True:
                await self.look()
                try:
                    await asyncio.wait_for(self._woken.wait(), self._seconds)
                except TimeoutError:
                    continue
                self._woken.clear()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def look(self) -> None:
        """Put into force what the files hold now."""
        await self._guarded("allow_list_kept", self._look_at_sites)
        await self._guarded("operator_keys_kept", self._look_at_operator_keys)
        await self._guarded("certificate_kept", self._look_at_certificate)

    async def _look_at_sites(self) -> None:
        sites = await self._settled(lambda: read_allow_list(self._files.sites), self._sites)
        if sites is not None:
            await self._roster.apply(sites)
            self._sites = sites

    async def _look_at_operator_keys(self) -> None:
        read = self._files.operator_key_hash
        hashes = await self._settled(lambda: read_key_hashes(read), self._key_hashes.hashes)
        if hashes is not None:
            self._key_hashes.replace(hashes)
            log.warning("operator_keys_changed", extra={"keys": len(hashes)})

    async def _look_at_certificate(self) -> None:
        certificate, key = self._files.certificate, self._files.certificate_key
        content = await self._settled(lambda: certificate.read_bytes() + key.read_bytes(), self._certificate)
        if content is not None:
            load_certificate(self._tls, certificate, key)
            if self._certificate is not None:
                log.info("certificate_renewed")
            self._certificate = content

    async def _settled(self, read: Callable[[], T], known: T | None) -> T | None:
        """What is read if it is another than `known` and stays the same for a moment; None otherwise."""
        found = await asyncio.to_thread(read)
        if found == known:
            return None
        await asyncio.sleep(_SETTLE_SECONDS)
        again = await asyncio.to_thread(read)
        return found if again == found else None

    async def _guarded(self, what: str, look: Callable[[], Awaitable[None]]) -> None:
        """Tell a fault once for as long as it stays. None may end this: keys could not be revoked any more."""
        try:
            await look()
        except Exception as error:
            if self._told.get(what) != str(error):
                self._told[what] = str(error)
                code = error.code if isinstance(error, FedprivError) else None
                unforeseen = not isinstance(error, FedprivError | OSError)
                log.warning(what, extra={"reason": str(error), "code": code}, exc_info=unforeseen)
        else:
            self._told.pop(what, None)
