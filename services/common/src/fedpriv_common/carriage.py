"""Contents that travel inside the message that announces them.

Flower's Fleet API moves each object of a message in a request of its own: a question and its answer take nine. Between
a fedpriv site and a fedpriv server they take two:

    pull-messages   the site asks for contents ─> the answer carries them, and the message counts as received
    push-messages   the reply carries its contents ─> the answer wants none of them

Contents ride in fields that Flower's own messages do not have. Protobuf passes over fields that it does not know: a
stock SuperLink and a stock node understand the rest as ever, and what did not travel along is moved the ordinary way.

Needs protobuf, which flwr brings; only server and site import this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import Message as Protobuf  # type: ignore[import-untyped]

#: Most that is carried, bytes; a message's larger contents travel one by one. A model of the recipes takes 20 kB.
MOST_CARRIED: Final = 2**20

#: Far from any number that Flower's fields have, and below those that protobuf keeps for itself (from 19,000).
_ASKS, _CONTENTS = 18_901, 18_902


def _carriage() -> Any:
    """The message class of the two fields, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name="fedpriv/carriage.proto", package="fedpriv", syntax="proto3")
    fields = file.message_type.add(name="Carriage").field
    kinds = descriptor_pb2.FieldDescriptorProto
    fields.add(name="asks", number=_ASKS, type=kinds.TYPE_BOOL, label=kinds.LABEL_OPTIONAL)
    fields.add(name="contents", number=_CONTENTS, type=kinds.TYPE_BYTES, label=kinds.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fedpriv.Carriage"))


_Carriage: Final = _carriage()


def ask(request: Protobuf) -> None:
    """Ask that the answer carries contents."""
    request.MergeFromString(_Carriage(asks=True).SerializeToString())


def asked(request: Protobuf) -> bool:
    """Whether the answer may carry contents."""
    return bool(_Carriage.FromString(request.SerializeToString()).asks)


def load(message: Protobuf, contents: Iterable[bytes]) -> None:
    """Let a message carry contents, in the order in which its object tree names them."""
    message.MergeFromString(_Carriage(contents=contents).SerializeToString())


def unload(message: Protobuf, most: int) -> Sequence[bytes]:
    """The first `most` contents that a message carries; none, if it carries none."""
    return list(_Carriage.FromString(message.SerializeToString()).contents[:most])
