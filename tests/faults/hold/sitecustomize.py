"""Holds a process of the product at a chosen moment of a round. Mounted into test containers; no image has it.

Python imports a module of this name at every start. Here it wraps one function of each moment's module when that is
imported; nothing else of the process changes, and nothing is imported early. A test arms a moment by a file in this
container's own folder:

    armed      {"moment": …, "round": …}     written by the test
    reached    the same file, renamed        the process is held: once only, since the name is gone
               removed by the test           the process goes on; it also does so by itself after some time

A function that is no longer there ends the process with an AttributeError: a test that holds nothing proves nothing.
"""

import asyncio
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path("/hold/control", os.environ.get("HOSTNAME", ""))
#: Longest that a process is held, seconds.
LONGEST = 30.0


def reached(moment, round_number):
    """Whether this is the armed moment; if so, it is armed no longer and has to be waited out."""
    armed = FOLDER / "armed"
    try:
        wanted = json.loads(armed.read_text(encoding="utf-8"))
        if wanted != {"moment": moment, "round": round_number}:
            return False
        armed.rename(FOLDER / "reached")
    except (OSError, ValueError):
        return False
    return True


def held(deadline):
    """Whether the process is to be held still."""
    return time.monotonic() < deadline and (FOLDER / "reached").exists()


def hold(moment, round_number):
    """Hold this thread, if this is the armed moment."""
    if reached(moment, round_number):
        deadline = time.monotonic() + LONGEST
        while held(deadline):
            time.sleep(0.005)


def before_round(ask):
    """`Exchange.ask`: the question of a training round, before any site has it. The event loop goes on."""

    @functools.wraps(ask)
    async def wrapped(self, requests, *arguments, **named):
        asked = {(str(request.phase), request.round) for request in requests.values()}
        if len(asked) == 1:
            phase, number = asked.pop()
            if phase == "train" and reached("before-round", number):
                deadline = time.monotonic() + LONGEST
                while held(deadline):
                    await asyncio.sleep(0.005)
        return await ask(self, requests, *arguments, **named)

    return wrapped


def aggregation(trained):
    """`Iterate.trained`: every reply is there, the next model is not. The event loop stands still."""

    @functools.wraps(trained)
    def wrapped(self, *arguments, **named):
        hold("aggregation", self.round + 1)
        return trained(self, *arguments, **named)

    return wrapped


def checkpoint(encode):
    """`outbox._encode`: the file of a round's checkpoint is open, and empty still."""

    @functools.wraps(encode)
    def wrapped(objects):
        for entry in objects:
            folder, _, name = entry.key.rpartition("/")
            if folder.endswith("/checkpoints"):
                hold("checkpoint", int(name.split(".")[0]))
        return encode(objects)

    return wrapped


def training(charged):
    """`Site._charged`: a release is charged, and computed now; then it is committed, and not sent yet."""

    @functools.wraps(charged)
    def wrapped(self, request, compute):
        if str(request.phase) != "train":
            return charged(self, request, compute)

        def held_computation():
            hold("training", request.round)
            return compute()

        payload = charged(self, request, held_computation)
        hold("committed", request.round)
        return payload

    return wrapped


#: By module: the class in it (none: the module itself), the function, and what wraps it.
WRAPPED = {
    "fedpriv_server.exchange": ("Exchange", "ask", before_round),
    "fedpriv_server.strategy": ("Iterate", "trained", aggregation),
    "fedpriv_server.outbox": (None, "_encode", checkpoint),
    "fedpriv_client.site": ("Site", "_charged", training),
}


def wrap(module):
    """Wrap the module's function; raises AttributeError when it is not there."""
    owner, name, wrapper = WRAPPED[module.__name__]
    holder = module if owner is None else getattr(module, owner)
    setattr(holder, name, wrapper(getattr(holder, name)))


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules above as Python does, and wraps their functions once they are loaded."""

    def find_spec(self, name, path, target=None):
        """The module's own spec, whose loader then calls `wrap`."""
        if name not in WRAPPED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_wrap(module):
                execute(module)
                wrap(module)

            spec.loader.exec_module = execute_and_wrap
        return spec


# The services only: commands that a test calls in their containers are left alone.
if Path(sys.argv[0]).name in ("fedpriv-server", "fedpriv-site"):
    sys.meta_path.insert(0, Finder())
