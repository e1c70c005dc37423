"""Computations in processes of their own, which end: what they import and hold never weighs on the API's process."""

from __future__ import annotations

import asyncio
import sys

#: One at a time, whoever asks: two at once would take the memory and the processor of the API itself.
_ONE = asyncio.Lock()


async def compute(module: str, question: bytes, deadline_s: float) -> bytes:
    """What `python -m module` prints when it is given `question`.

    Raises TimeoutError after `deadline_s` of running, which waiting for others does not count towards; ValueError when
    the process fails, OSError when it cannot be started.
    """
    async with _ONE:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(deadline_s):
                answer, _ = await process.communicate(question)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0:
        raise ValueError(f"{module} ended with status {process.returncode}")
    return answer
