"""Runs in memory, as the tail would hand them over."""

from __future__ import annotations

from fedpriv_common.objects import Parsed, parse
from fedpriv_metrics.index import Index, RunIndex
from tests.run_writer import Script, encode, run_steps

RUN = "01KE6P4YM0NX0H6Y9J2BQG34G5"


def parsed(script: Script | None = None, run_id: str = RUN, upto: str = "end") -> list[Parsed]:
    """The run's objects up to and including the step `upto`, in the order of their writing."""
    found: list[Parsed] = []
    for name, objects in run_steps(run_id, script):
        found += [parse(key, run_id, body) for key, body in encode(objects).items()]
        if name == upto:
            break
    return found


def indexed(script: Script | None = None, upto: str = "end") -> RunIndex:
    """The run, applied in one batch."""
    index = Index()
    index.apply(RUN, parsed(script, upto=upto))
    run = index.run(RUN)
    assert run is not None
    return run
