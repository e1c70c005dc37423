"""Settings are environment variables `FEDPRIV_*`, read once, validated, or the process does not start."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedpriv_common.errors import ErrorCode, FedprivError

SettingsT = TypeVar("SettingsT", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """Base of every service's settings; names are upper-cased and prefixed with FEDPRIV_."""

    model_config = SettingsConfigDict(env_prefix="FEDPRIV_", extra="ignore", frozen=True)


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read the environment, or raise BAD_SETTING naming each variable and what it allows."""
    try:
        return settings_class()
    except ValidationError as error:
        faults = "; ".join(
            f"FEDPRIV_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise FedprivError(
            ErrorCode.BAD_SETTING,
            faults + ".",
            "Set it and start again; docs/reference/settings.md lists them.",
        ) from None


def read_secret(path: Path, what: str) -> str:
    """The stripped text of a secret's file. Secrets come as files: environments end up in logs and dumps."""
    try:
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"Cannot read {what} at {path} ({error.strerror}).",
            "Check the path and its mode.",
        ) from None
    except UnicodeDecodeError:
        raise FedprivError(ErrorCode.BAD_KEY, f"The {what} at {path} is no text.", "Create it again.") from None
    if not text:
        raise FedprivError(ErrorCode.BAD_KEY, f"The {what} at {path} is empty.", "Create it again.")
    return text
