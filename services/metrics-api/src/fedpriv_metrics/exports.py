"""Answers as files for other programs: one JSON object a line, or CSV that a spreadsheet opens without running it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

#: A spreadsheet takes text that begins so for a formula, and would run what somebody named a run.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_ndjson(entries: Iterable[BaseModel]) -> bytes:
    """One JSON object a line."""
    return b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)


def as_csv(model: type[BaseModel], entries: Sequence[BaseModel]) -> bytes:
    """RFC 4180, with a header line; every field of `model` is a column, and null is empty."""
    names = list(model.model_fields)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for entry in entries:
        row = entry.model_dump(mode="json")
        writer.writerow([cell(row[name]) for name in names])
    return text.getvalue().encode()


def cell(value: object) -> object:
    """Numbers stay numbers; text that a spreadsheet would compute is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
