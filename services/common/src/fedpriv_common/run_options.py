"""Run settings from command-line options, for every command that takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydantic import ValidationError

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings

#: Options that are not called as the field.
_NAMES: Final = {"strategy_options": "strategy-option"}


def run_settings(command: str, **options: Any) -> RunSettings:
    """RunSettings of the options that were given; raises RUN_REFUSED naming each that is not allowed."""
    with refusing_options(command):
        return RunSettings(**{name: value for name, value in options.items() if value is not None})


def strategy_options(command: str, given: Sequence[str] | None) -> dict[str, float] | None:
    """The numbers in a list of `name=number`; None for no list. Raises RUN_REFUSED for anything else."""
    options: dict[str, float] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        try:
            options[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise FedprivError(
                ErrorCode.RUN_REFUSED,
                f"--strategy-option: {text!r} is not name=number.",
                f"As in --strategy-option beta_1=0.9; `{command} --help` lists the options.",
            )
    return options or None


@contextmanager
def refusing_options(command: str, names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn what a model declines into RUN_REFUSED that names the options; `names`: more not called as the field."""
    try:
        yield
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            field, *within = (str(part) for part in fault["loc"] or ("settings",))
            option = {**_NAMES, **(names or {})}.get(field, field.replace("_", "-").removesuffix("-s"))
            where = " ".join([option, *(part for part in within if part != "[key]")])
            faults.append(f"--{where}: {fault['msg']}")
        raise FedprivError(
            ErrorCode.RUN_REFUSED, f"{'; '.join(faults)}.", f"`{command} --help` lists the options."
        ) from None
