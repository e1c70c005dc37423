"""A site answering a server: what is asked is checked against policy, plan and ledger, in that order.

`Site.handle` is the whole border. What it returns crosses; everything else stays in the local log.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fedpriv_client.privacy.budget import BudgetMeter
from fedpriv_client.privacy.ledger.ledger import Ledger, Replay, Reserved, Skipped, planned_release
from fedpriv_client.privacy.part import Signatory
from fedpriv_client.privacy.policy import Policy
from fedpriv_client.privacy.requests import RunRequests
from fedpriv_common.canonical import canonical_json
from fedpriv_common.contract import DataContract
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import APP, Phase, Plan, model_of
from fedpriv_common.statement.schema import Timing
from fedpriv_common.steps import measured, step
from fedpriv_common.wire import (
    MOST_CENTRE,
    MOST_PARAMETER,
    OK,
    Operation,
    Reply,
    Request,
    SiteFacts,
    decode_array,
    encode_array,
)

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]


class Releases(Protocol):
    """What a trainer can do: compute the release of one phase."""

    def release(self, phase: Phase, parameters: FloatArray, centre: FloatArray) -> FloatArray:
        """The noisy values to send."""
        ...


@dataclass(frozen=True)
class _Run:
    """A run as this process serves it: its plan, and the trainer made for it on first use."""

    plan: Plan
    trainer: Releases


class Site:
    """Serves one partition of one data set. Requests are answered one at a time."""

    def __init__(
        self,
        contract: DataContract,
        policy: Policy,
        ledger: Ledger,
        make_trainer: Callable[[Plan], Releases],
        requests: RunRequests,
        signatory: Signatory | None = None,
    ) -> None:
        """`requests`: where runs that a person has to approve wait for it. Without a `signatory`, the site adds
        nothing to privacy statements."""
        self._contract = contract
        self._policy = policy
        self._ledger = ledger
        self._make_trainer = make_trainer
        self._requests = requests
        self._delta = policy.delta_for(contract)
        self._meter = BudgetMeter(self._delta)
        self._run: tuple[str, _Run] | None = None
        self._signatory = signatory
        self._started, self._overran = datetime.now(UTC), Counter[str]()

    def handle(self, request: Request) -> Reply:
        """Answer a request. A refusal becomes its code; its detail goes to the local log and no further."""
        where = {"run_id": request.run_id, "operation": request.operation, "round": request.round}
        with measured(log, "request_steps", **where, phase=request.phase):
            return self._handle(request)

    def _handle(self, request: Request) -> Reply:
        started = time.monotonic()
        try:
            return self._answer(request)
        except RefusalError as refusal:
            log.warning(
                "refused",
                extra={
                    "run_id": request.run_id,
                    "operation": request.operation,
                    "round": request.round,
                    "code": refusal.refusal,
                    "detail": refusal.detail,
                },
            )
            return Reply(code=refusal.refusal)
        finally:
            with step("hold_back"):
                self._hold_back(request, time.monotonic() - started)

    def _hold_back(self, request: Request, took_s: float) -> None:
        """Wait for a whole multiple of a public time: when an answer comes must not tell how much was worked on."""
        releases = request.operation is Operation.RELEASE
        minimum_ms = self._policy.min_reply_ms
        if releases and self._run is not None and self._run[0] == request.run_id:
            minimum_ms = max(minimum_ms, self._run[1].plan.min_reply_ms)
        minimum_s = minimum_ms / 1000
        if releases and took_s > minimum_s:
            self._overran[request.run_id] += 1
            log.warning("reply_overran", extra={"run_id": request.run_id, "round": request.round})
        if minimum_s > 0:
            time.sleep(math.ceil(took_s / minimum_s) * minimum_s - took_s)

    def _answer(self, request: Request) -> Reply:
        if request.app != APP:
            raise RefusalError(Refusal.UNKNOWN_APP, f"this image holds {APP}, the server asks for {request.app}")
        if not self._ledger.contains(request.witness_seq, request.witness_head):
            raise RefusalError(
                Refusal.LEDGER_ROLLED_BACK,
                f"the server has seen entry {request.witness_seq} with another hash: this ledger was set back, "
                "forked or copied; restore the newest one",
            )
        match request.operation:
            case Operation.ADMIT:
                self._admit(request)
                self._serving(request.run_id)  # builds the trainer now rather than in the first round
                return Reply(code=OK, facts=self._facts(request.run_id))
            case Operation.RELEASE:
                return self._release(request)
            case Operation.CLOSE:
                self._requests.drop(request.run_id)
                self._ledger.close(request.run_id)
                return Reply(code=OK, facts=self._facts(request.run_id), part=self._part(request.run_id))

    def _admit(self, request: Request) -> None:
        try:
            plan = Plan.model_validate_json(request.plan)
        except ValidationError as error:
            raise RefusalError(Refusal.BAD_REQUEST, f"plan: {error.error_count()} faults") from None
        if plan.digest() != request.plan_digest:
            raise RefusalError(Refusal.BAD_REQUEST, "the plan's digest is not the request's")
        if plan.contract_digest != self._contract.digest():
            raise RefusalError(Refusal.CONTRACT_MISMATCH, "the server holds another data contract")
        _check_shape(plan, self._contract)
        self._policy.check(plan, self._contract)
        try:
            self._ledger.admit(
                request.run_id,
                plan,
                self._policy.digest(),
                epsilon_limit=self._policy.epsilon,
                delta=self._delta,
                needs_approval=self._policy.approval,
            )
        except RefusalError as refusal:
            if refusal.refusal is Refusal.APPROVAL_NEEDED:
                self._requests.keep(request.run_id, plan)
            raise
        self._requests.drop(request.run_id)

    def _release(self, request: Request) -> Reply:
        run = self._serving(request.run_id)
        if request.plan_digest != run.plan.digest():
            raise RefusalError(Refusal.REQUEST_CHANGED, "the run was admitted with another plan")
        planned_release(run.plan, request.round, request.phase)
        # Arrays are checked before the reservation: what is refused here has cost nothing.
        needs_model = request.phase is not Phase.CENTRE
        parameters = decode_array(request.parameters, run.plan.model.n_parameters if needs_model else 0, MOST_PARAMETER)
        has_centre = needs_model and run.plan.centre is not None
        centre = decode_array(request.centre, run.plan.model.n_features if has_centre else 0, MOST_CENTRE)
        payload = self._charged(request, lambda: run.trainer.release(request.phase, parameters, centre))
        with step("facts"):
            return Reply(code=OK, payload=payload, facts=self._facts(request.run_id))

    def _charged(self, request: Request, compute: Callable[[], FloatArray]) -> bytes:
        """The bytes to send: what was committed for this request before, or what is computed now, once charged.

        Nothing (an evaluation that is skipped) when the site holds no records out or their budget is spent.
        """
        if request.phase is Phase.EVALUATE and self._policy.held_out_share == 0:
            return b""
        digest = request.digest()
        where = (request.run_id, request.round, request.phase, digest)
        with step("reserve"):
            reserved = self._ledger.reserve(*where, epsilon_limit=self._policy.epsilon)
        match reserved:
            case Replay(payload):
                return payload
            case Skipped():
                log.info("evaluation_skipped", extra={"run_id": request.run_id, "round": request.round})
                return b""
            case Reserved():
                with step("compute"):
                    payload = encode_array(compute())
                with step("commit"):
                    return self._ledger.commit(*where, payload)

    def _part(self, run_id: str) -> str:
        """This site's signed part of the run's privacy statement, as JSON."""
        if self._signatory is None:
            return ""
        timing = Timing(overran=self._overran[run_id], counted_since=self._started)
        with self._ledger.reading() as history:
            signed = self._signatory.sign(history, run_id, self._contract, self._policy, timing)
        return canonical_json(signed.model_dump(mode="json")).decode()

    def _serving(self, run_id: str) -> _Run:
        """The run's plan as the ledger has it, so that a restarted site goes on, and a trainer for it."""
        if self._run is None or self._run[0] != run_id:
            with self._ledger.reading() as history:
                known = history.runs.get(run_id)
            if known is None:
                raise RefusalError(Refusal.NOT_ADMITTED, f"run {run_id} was not admitted")
            plan = known.admit.plan
            # The policy may have become stricter since, and with it what the site still does for an open run.
            self._policy.check(plan, self._contract)
            self._run = (run_id, _Run(plan, self._make_trainer(plan)))
        return self._run[1]

    def _facts(self, run_id: str) -> SiteFacts:
        with self._ledger.reading() as history:
            budget = self._meter.read(history, run_id)
            return SiteFacts(
                dataset=self._contract.dataset,
                epsilon_run=budget.epsilon_run,
                epsilon_spent=budget.epsilon_spent,
                epsilon_planned=budget.epsilon_planned,
                epsilon_held_out=history.held_out_epsilon(),
                epsilon_limit=self._policy.epsilon,
                delta=self._delta,
                unit=history.runs[run_id].admit.plan.unit,
                policy_digest=self._policy.digest(),
                ledger_seq=history.seq,
                ledger_head=history.head,
            )


def _check_shape(plan: Plan, contract: DataContract) -> None:
    """Refuse a plan whose model is not the recipe's own: a server that chose its size would choose at how many records
    a site runs out of memory."""
    if plan.model != model_of(plan.recipe, contract):
        raise RefusalError(Refusal.BAD_REQUEST, "the plan's model does not fit the data contract")
    try:
        size = contract.nominal(plan.unit)
    except ValueError as error:
        raise RefusalError(Refusal.BAD_REQUEST, str(error)) from None
    if plan.nominal_size != size:
        raise RefusalError(
            Refusal.BAD_REQUEST, f"the plan declares {plan.nominal_size} {plan.unit}s, the contract {size}"
        )
    if plan.dataset != contract.dataset:
        raise RefusalError(Refusal.CONTRACT_MISMATCH, f"the plan is for {plan.dataset}")
