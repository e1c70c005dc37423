"""What services do alike."""

from __future__ import annotations

import socket

from fedpriv_common.service import listen


def test_no_answer_waits_for_the_caller_to_acknowledge_its_head() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
