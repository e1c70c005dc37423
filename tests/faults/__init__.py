"""Faults at chosen moments of a run, on real containers: `python -m tests.faults`."""
