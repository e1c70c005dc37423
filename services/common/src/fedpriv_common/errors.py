"""Every way fedpriv says no: one code, one exit status, one entry in docs/reference/errors.md.

Two audiences. A person at the machine gets `FedprivError`: what happened, where, what to do. The other side
of the network gets a `Refusal` code and nothing else, because free text can carry a record across the border.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Fixed codes that a site may send to the server; the reason in full stays in the site's own log."""

    BAD_REQUEST = "BAD_REQUEST"
    BAD_PARAMETERS = "BAD_PARAMETERS"
    UNKNOWN_APP = "UNKNOWN_APP"
    CONTRACT_MISMATCH = "CONTRACT_MISMATCH"
    POLICY_REFUSED = "POLICY_REFUSED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    NOT_ADMITTED = "NOT_ADMITTED"
    REQUEST_CHANGED = "REQUEST_CHANGED"
    RUN_CLOSED = "RUN_CLOSED"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    LEDGER_ROLLED_BACK = "LEDGER_ROLLED_BACK"
    INTERNAL = "INTERNAL"
    APPROVAL_NEEDED = "APPROVAL_NEEDED"


class ErrorCode(StrEnum):
    """Codes of errors that a person at the machine reads."""

    BAD_SETTING = "BAD_SETTING"
    BAD_CONTRACT = "BAD_CONTRACT"
    BAD_POLICY = "BAD_POLICY"
    DATA_FORMAT = "DATA_FORMAT"
    LEDGER_MISSING = "LEDGER_MISSING"
    LEDGER_INVALID = "LEDGER_INVALID"
    LEDGER_MISMATCH = "LEDGER_MISMATCH"
    BAD_KEY = "BAD_KEY"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    SERVER_CERTIFICATE = "SERVER_CERTIFICATE"
    NODE_UNKNOWN = "NODE_UNKNOWN"
    PORT_IN_USE = "PORT_IN_USE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_CONFLICT = "STORE_CONFLICT"
    OPERATOR_REFUSED = "OPERATOR_REFUSED"
    RUN_REFUSED = "RUN_REFUSED"
    RUN_FAILED = "RUN_FAILED"
    MISSING_TOOL = "MISSING_TOOL"
    DISK_FULL = "DISK_FULL"
    PROCESS_DIED = "PROCESS_DIED"
    DEADLINE = "DEADLINE"
    LEASE_LOST = "LEASE_LOST"
    LEDGER_BUSY = "LEDGER_BUSY"
    OTHER_VERSION = "OTHER_VERSION"
    LICENCE_REFUSED = "LICENCE_REFUSED"
    AUDIT_FAILED = "AUDIT_FAILED"
    BAD_AUDIT = "BAD_AUDIT"
    NO_SUCH_REQUEST = "NO_SUCH_REQUEST"
    BUDGET_TOO_SMALL = "BUDGET_TOO_SMALL"
    BAD_HISTORY = "BAD_HISTORY"
    LEDGER_UNWRITABLE = "LEDGER_UNWRITABLE"
    STATEMENT_INVALID = "STATEMENT_INVALID"
    RUN_DAMAGED = "RUN_DAMAGED"
    SERVER_FAULT = "SERVER_FAULT"
    RATE_LIMITED = "RATE_LIMITED"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    TAKEN_OVER = "TAKEN_OVER"


#: Exit status by code. 2 is left to the command-line parser, 1 to what nobody foresaw.
EXIT_STATUS: dict[ErrorCode, int] = {code: 10 + index for index, code in enumerate(ErrorCode)}


class FedprivError(Exception):
    """An error that a person can act on.

    `message` says what happened and where, `remedy` what to do; `code` names the entry in the error reference.
    """

    def __init__(self, code: ErrorCode, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy

    @property
    def exit_status(self) -> int:
        """The process exit status for this code."""
        return EXIT_STATUS[self.code]

    def __str__(self) -> str:
        return f"{self.code}: {self.message} {self.remedy}".rstrip()


class RefusalError(Exception):
    """A request that a site declines: `refusal` crosses the border, `detail` never does."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail
