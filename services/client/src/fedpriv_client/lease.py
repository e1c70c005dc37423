"""Partition leases: identical site processes take one partition each, and never two the same.

A lease is a row that its holder writes every few seconds. Nobody's wall clock matters: who wants a held partition
watches the row, and takes it when it has not changed for the lease's length on its own clock. Every write is
conditional on what was read:

    holder A   take(token 7) ── renew ── renew ── (killed, or paused)               renew: refused, A ends
    waiting B        reads ─ reads ─ reads ─ unchanged for `seconds` ─ take(token 8)

A stops counting on its lease `seconds` after it *asked* for the last renewal, and B counts from when it *saw* it, so A
has stopped before B begins, however slow the table answered. The row says how long its holder's lease is. A paused
process cannot look at its clock, and a table can be lost; so the token, which only ever grows, is claimed in the ledger
too, and the ledger takes entries under the newest token alone.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from fedpriv_common.aws import connect, error_code
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.lease_table import DATASET, PARTITION

log = logging.getLogger(__name__)

#: Seconds that one answer of the table may take; a lease survives some that do not come.
_TIMEOUT_S: Final = 2.0
#: What the expressions below call the columns; some of the words are reserved.
_NAMES: Final = {"#partition": PARTITION, **{f"#{name}": name for name in ("holder", "token", "beat", "seconds")}}
#: Longest wait between looks at a table that cannot be reached, seconds.
_LONGEST_PAUSE_S: Final = 10.0


def clock() -> float:
    """Seconds that also pass while this machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseTable:
    """The rows of one data set's partitions, as one process sees them. Not to be shared by threads."""

    def __init__(self, table: str, dataset: str, partitions: int, seconds: float) -> None:
        """`seconds` is the length of the leases that this process takes."""
        self.table = table
        self.seconds = seconds
        self._dataset = dataset
        self._partitions = partitions
        self._dynamodb = connect("dynamodb", timeout_s=_TIMEOUT_S, attempts=2)
        self._holder = secrets.token_hex(8)
        #: When each partition's row was first seen as it is now.
        self._seen: dict[int, tuple[dict[str, Any], float]] = {}

    def wait(self, stand_by: Callable[[], None]) -> Lease:
        """A lease, as soon as a partition is free. While the table is out of reach, it is tried ever less often.

        `stand_by` is called before every wait.
        """
        told, pause = False, self.seconds / 10
        while True:
            try:
                lease = self.try_take()
            except FedprivError as error:
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                log.warning(str(error), extra={"code": error.code, "retry_in_s": round(pause, 1)})
            else:
                if lease is not None:
                    log.info("partition_taken", extra={"partition": lease.partition, "token": lease.token})
                    return lease
                if not told:
                    log.info("standing_by", extra={"partitions": self._partitions, "reason": "all are held by others"})
                told, pause = True, self.seconds / 10
            stand_by()
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads processes, hides nothing

    def try_take(self) -> Lease | None:
        """A lease on the first partition that is free or was abandoned, if any; raises STORE_UNAVAILABLE."""
        rows = self._read()
        for partition in range(self._partitions):
            row = rows.get(partition)
            if row is None or "holder" not in row or self._abandoned(partition, row):
                lease = self._take(partition, row)
                if lease is not None:
                    return lease
        return None

    def write(self, partition: int, update: str, condition: str, **values: str | float) -> bool:
        """Change a partition's row; False when the condition does not hold. Raises STORE_UNAVAILABLE.

        In both expressions `#holder`, `#token`, `#beat`, `#seconds` are columns, and `:name` is the value of that name.
        """
        expressions = f"{update} {condition}"
        try:
            self._dynamodb.update_item(
                TableName=self.table,
                Key={DATASET: _typed(self._dataset), PARTITION: _typed(partition)},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={name: column for name, column in _NAMES.items() if name in expressions},
                ExpressionAttributeValues={f":{name}": _typed(value) for name, value in values.items()},
            )
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None
        return True

    def _read(self) -> dict[int, dict[str, Any]]:
        try:
            # Consistent: what was given up a moment ago is free.
            answer = self._dynamodb.query(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression=f"{DATASET} = :dataset",
                ExpressionAttributeValues={":dataset": _typed(self._dataset)},
            )
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(error) from None
        return {int(row[PARTITION]["N"]): row for row in answer["Items"]}

    def _abandoned(self, partition: int, row: dict[str, Any]) -> bool:
        now = clock()
        seen, since = self._seen.get(partition, (None, now))
        if seen != row:
            since = now
        self._seen[partition] = (row, since)
        return now - since >= float(row["seconds"]["N"])

    def _take(self, partition: int, row: dict[str, Any] | None) -> Lease | None:
        asked_at = clock()
        token, condition, seen = 1, "attribute_not_exists(#partition)", {}
        if row is not None:
            token, condition = int(row["token"]["N"]) + 1, "#token = :seen_token AND #beat = :seen_beat"
            seen = {"seen_token": int(row["token"]["N"]), "seen_beat": int(row["beat"]["N"])}
        taken = self.write(
            partition,
            "SET #holder = :holder, #token = :token, #beat = :first, #seconds = :seconds",
            condition,
            holder=self._holder,
            token=token,
            first=0,
            seconds=self.seconds,
            **seen,
        )
        return Lease(self, self._holder, partition, token, asked_at) if taken else None

    def _unavailable(self, cause: object) -> FedprivError:
        return FedprivError(
            ErrorCode.STORE_UNAVAILABLE,
            f"Lease table {self.table}: {cause}.",
            "Check AWS_ENDPOINT_URL and credentials; `fedpriv provision` makes the table.",
        )


class Lease:
    """One partition, for as long as it is renewed."""

    _MINE: Final = "#holder = :holder AND #token = :token"

    def __init__(self, table: LeaseTable, holder: str, partition: int, token: int, asked_at: float) -> None:
        self.partition = partition
        #: Grows with every holder of the partition.
        self.token = token
        self._table = table
        self._holder = holder
        self._until = asked_at + table.seconds
        self._lost = False
        self._tell: Callable[[FedprivError], None] = lambda _: None
        self._ended = threading.Event()
        #: Whoever changes the token and whoever renews under it take turns.
        self._lock = threading.Lock()

    def require(self) -> None:
        """Raise LEASE_LOST unless the partition is still this process's. Costs a look at the clock."""
        if self._lost or clock() >= self._until:
            raise lost(self.partition)

    def keep(self) -> None:
        """Renew in a thread of its own until `release`, or until that fails for too long."""
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def renew(self) -> None:
        """Count on the partition for another `seconds`, or learn that it is lost; raises STORE_UNAVAILABLE."""
        with self._lock:
            asked_at = clock()
            # Adding, unlike setting a number, may be done twice when the first answer was lost.
            if self._table.write(self.partition, "ADD #beat :one", self._MINE, **self._mine(), one=1):
                self._until = asked_at + self._table.seconds
            else:
                self._lost = True

    def when_lost(self, tell: Callable[[FedprivError], None]) -> None:
        """Have `tell` called, from another thread, when the lease is lost."""
        self._tell = tell

    def raise_above(self, token: int) -> None:
        """Go on under a token higher than `token`, one that a ledger has seen although the table forgot it.

        Raises LEASE_LOST or STORE_UNAVAILABLE.
        """
        with self._lock:
            higher = token + 1
            self._lost = not self._table.write(
                self.partition,
                "SET #token = :higher ADD #beat :one",
                self._MINE,
                **self._mine(),
                higher=higher,
                one=1,
            )
            self.token = higher
        self.require()

    def release(self) -> None:
        """Give the partition up, so that another process may take it at once. One that is lost stays as it is."""
        self._ended.set()
        with self._lock:
            try:
                if self._table.write(
                    self.partition, "REMOVE #holder ADD #beat :one", self._MINE, **self._mine(), one=1
                ):
                    log.info("partition_released", extra={"partition": self.partition})
            except FedprivError as error:
                log.warning("partition_not_released", extra={"partition": self.partition, "reason": str(error)})

    def _keep(self) -> None:
        interval = self._table.seconds / 4
        while not self._ended.wait(interval * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads renewals
            try:
                self.renew()
            except FedprivError as error:
                log.warning(str(error), extra={"code": error.code, "partition": self.partition})
            try:
                self.require()
            except FedprivError as error:
                # Told again and again: who is told may have come later than the loss.
                self._tell(error)

    def _mine(self) -> dict[str, str | int]:
        return {"holder": self._holder, "token": self.token}


def lost(partition: int) -> FedprivError:
    """What ends a process whose partition may be another's by now."""
    return FedprivError(
        ErrorCode.LEASE_LOST,
        f"Partition {partition} is no longer this process's: its lease was not renewed in time, or another holds it.",
        "Nothing was sent since. Started again, this process takes a free partition or stands by.",
    )


def _typed(value: str | float) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}
