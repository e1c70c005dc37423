"""The site's ClientApp: one Flower message in, one out. It is installed with the image and nothing else is ever run.

Whatever happens inside, what goes back is a Reply: a charged release, facts about the budget, or a fixed code. To a
stock Flower strategy, it goes back in the form that this expects (fedavg.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from pydantic import TypeAdapter, ValidationError

from fedpriv_client.fedavg import APP_FAILED, FedAvgRound, holds_arrays
from fedpriv_common.errors import Refusal, RefusalError
from fedpriv_common.plan import APP
from fedpriv_common.records import RunId
from fedpriv_common.wire import OK, RECORD, Reply, Request

log = logging.getLogger(__name__)

_RUN_ID: TypeAdapter[str] = TypeAdapter(RunId)
#: Most of a refusal's detail that is logged; it may quote the server.
_DETAIL = 200


class Handler(Protocol):
    """What answers requests: a Site."""

    def handle(self, request: Request) -> Reply:
        """Answer; a refusal is a reply, too."""
        ...


class SiteApp:
    """Runs the ClientApp in this process, message by message.

    Train, evaluate and query messages are answered alike: what is asked stands in the request. `replied` is told of
    every reply.
    """

    def __init__(self, handler: Handler, replied: Callable[[Reply], None]) -> None:
        self._handler = handler
        self._replied = replied
        self._app = ClientApp()
        for register in (self._app.train, self._app.evaluate, self._app.query):
            register()(self._answer)

    def run(self, message: Message) -> Message:
        """The reply to a message, whatever the message is."""
        metadata = message.metadata
        context = Context(metadata.run_id, metadata.dst_node_id, node_config={}, state=RecordDict(), run_config={})
        try:
            return self._app(message, context)
        except Exception as error:
            # Only the choice of the function by message type can fail: the function itself does not raise.
            log.warning("refused", extra={"code": Refusal.BAD_REQUEST, "detail": str(error)[:_DETAIL]})
            return self._send(Reply(code=Refusal.BAD_REQUEST), message)

    def _answer(self, message: Message, _: Context) -> Message:
        content = None
        try:
            if holds_arrays(message):
                reply, content = self._fedavg(FedAvgRound.read(message))
            else:
                reply = self._handler.handle(_request(message))
        except RefusalError as refusal:
            log.warning("refused", extra={"code": refusal.refusal, "detail": refusal.detail[:_DETAIL]})
            reply = Reply(code=refusal.refusal)
        except Exception:
            # The reason may hold a value of a record: it stays here.
            log.exception("failed")
            reply = Reply(code=Refusal.INTERNAL)
        return self._send(reply, message, content)

    def _fedavg(self, asked: FedAvgRound) -> tuple[Reply, RecordDict | None]:
        """A stock strategy shows the plan with each round rather than once before."""
        reply = self._handler.handle(asked.admit())
        if reply.code == OK:
            reply = self._handler.handle(asked.release())
        return reply, asked.answer(reply.payload) if reply.code == OK else None

    def _send(self, reply: Reply, message: Message, content: RecordDict | None = None) -> Message:
        """The message for a reply; `content` is what a stock strategy gets of it, if it gets any."""
        self._replied(reply)
        if content is not None:
            return Message(content, reply_to=message)
        if holds_arrays(message):
            return Message(Error(APP_FAILED, str(reply.code)), reply_to=message)
        return Message(RecordDict({RECORD: ConfigRecord({**reply.to_fields()})}), reply_to=message)


def _request(message: Message) -> Request:
    """The request in a message; raises BAD_REQUEST or UNKNOWN_APP."""
    if not message.has_content() or set(message.content) != {RECORD}:
        raise RefusalError(Refusal.BAD_REQUEST, f"the message holds something else than one record {RECORD!r}")
    fields = message.content[RECORD]
    if not isinstance(fields, ConfigRecord):
        raise RefusalError(Refusal.BAD_REQUEST, f"{RECORD!r} is a {type(fields).__name__}")
    app = fields.get("app")
    if isinstance(app, str) and app != APP:
        raise RefusalError(Refusal.UNKNOWN_APP, f"this image holds {APP}, the server asks for {app}")
    request = Request.from_fields(fields)
    try:
        _RUN_ID.validate_python(request.run_id)
    except ValidationError:
        raise RefusalError(Refusal.BAD_REQUEST, "run_id is no ULID") from None
    return request
