"""The allow-list changes while the server runs: who comes, who goes, who has another key."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import AllowList
from fedpriv_common.wire import Operation, Request
from fedpriv_server.operator import KeyHashes
from fedpriv_server.outbox import StoredObject
from fedpriv_server.reload import KeyFiles, Reload
from fedpriv_server.roster import Roster
from tests.unit.server.nodes import Hub, Node, client, reply_to, signed

REQUEST = Request(operation=Operation.RELEASE, run_id="01J9ZZZZZZZZZZZZZZZZZZZZZZ", round=1)


class Records:
    """Stands for what of the server is not looked at here: runs, statements, archive, and the active run's reader."""

    def __init__(self) -> None:
        self.objects: list[AllowList] = []
        self.answers: list[tuple[str, object]] = []
        self.presences: list[tuple[str, bool]] = []
        self.heads: list[str] = []
        self.fault: FedprivError | None = None
        self.stored = threading.Event()

    def put(self, objects: list[StoredObject]) -> None:
        self.objects += [AllowList.model_validate_json(entry.body) for entry in objects]
        self.stored.set()

    def read_heads(self, site: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.heads.append(site)

    def admit(self, site: str, pem: bytes) -> None: ...

    def expel(self, site: str) -> None: ...

    def answered(self, site: str, fields: dict[str, object] | None) -> None:
        self.answers.append((site, fields))

    def late(self, site: str, round_number: int) -> None: ...

    def presence(self, site: str, online: bool) -> None:
        self.presences.append((site, online))

    def stock(self, site: str) -> None: ...


class Stage:
    """A hub whose allow-list can change, in a running event loop."""

    def __init__(self) -> None:
        self.hub, self.records = Hub(), Records()
        self.hub.open()
        everything: Any = self.records
        self.roster = Roster(self.hub.link, self.hub.postbox, everything, everything, everything)
        self.pems = dict(self.hub.link.sites)

    def new_key(self, site: str) -> bytes:
        self.hub.keys[site] = ec.generate_private_key(ec.SECP256R1())
        return public_key_to_bytes(self.hub.keys[site].public_key())

    async def statuses(self, node: Node) -> set[int]:
        """What a node's key gets on the routes that it uses."""
        me = NodeProto(node_id=node.node_id)
        activation = ActivateNodeRequest(public_key=public_key_to_bytes(node.key.public_key()), heartbeat_interval=30)
        async with client(self.hub.gate) as http:
            asked = {"activate-node": activation, "pull-messages": PullMessagesRequest(node=me)}
            for route in ("push-messages", "push-object", "pull-object", "send-node-heartbeat", "get-run"):
                asked[route] = PullMessagesRequest(node=me)
            return {
                (
                    await http.post(f"/v1/fleet/{route}", content=request.SerializeToString(), headers=signed(node.key))
                ).status_code
                for route, request in asked.items()
            }


def test_an_added_site_goes_online_and_its_ledgers_last_head_is_read_first() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.roster.apply({**stage.pems, "c": stage.new_key("c")})
        assert stage.hub.postbox.sites == ("a", "b", "c")
        assert stage.records.heads == ["c"]
        await stage.hub.node("c").activate()
        assert stage.hub.postbox.online("c")

    asyncio.run(play())


def test_a_site_is_not_added_while_its_last_head_cannot_be_read_but_others_are_revoked() -> None:
    async def play() -> None:
        stage = Stage()
        stage.records.fault = FedprivError(ErrorCode.STORE_UNAVAILABLE, "S3 is away.", "")
        wanted = {"b": stage.pems["b"], "c": stage.new_key("c")}
        with pytest.raises(FedprivError):
            await stage.roster.apply(wanted)
        assert stage.hub.postbox.sites == ("b",)
        stage.records.fault = None
        await stage.roster.apply(wanted)
        assert stage.hub.postbox.sites == ("b", "c")

    asyncio.run(play())


def test_a_revoked_site_is_refused_on_every_route_and_its_pull_and_reply_end() -> None:
    async def play() -> None:
        stage = Stage()
        postbox, records, node = stage.hub.postbox, stage.records, stage.hub.node("a")
        await node.activate()
        reader: Any = records
        async with postbox.open("run", reader):
            postbox.send("a", REQUEST, reply_bytes=10_000, ttl_s=60)
            message = await node.pull()
            assert message is not None
            await node.push(reply_to(message, {"code": "OK"}), upto=1)
            held = asyncio.create_task(node.pull())
            await asyncio.sleep(0)
            await stage.roster.apply({"b": stage.pems["b"]})
            assert await asyncio.wait_for(held, 5) is None
            assert await stage.statuses(node) == {401, 412}
            assert (records.answers, postbox.online("a"), postbox.sites) == ([], False, ("b",))
            postbox.send("a", REQUEST, reply_bytes=10_000, ttl_s=60)  # as the next round of the run does
            # The same key comes back: what it was asked waits for it.
            await stage.roster.apply(stage.pems)
            back = stage.hub.node("a")
            await back.activate()
            again = await back.pull()
            assert again is not None
            await back.push(reply_to(again, {"code": "OK"}))
            assert records.answers == [("a", {"code": "OK"})]

    asyncio.run(play())


def test_a_rotated_key_goes_on_in_the_same_run_and_the_old_one_does_not() -> None:
    async def play() -> None:
        stage = Stage()
        postbox, records, old = stage.hub.postbox, stage.records, stage.hub.node("a")
        await old.activate()
        reader: Any = records
        async with postbox.open("run", reader):
            postbox.send("a", REQUEST, reply_bytes=10_000, ttl_s=60)
            assert await old.pull() is not None
            await stage.roster.apply({**stage.pems, "a": stage.new_key("a")})
            assert await stage.statuses(old) == {401, 412}
            new = stage.hub.node("a")
            assert new.node_id != old.node_id
            await new.activate()
            message = await new.pull()
            assert message is not None
            await new.push(reply_to(message, {"code": "OK"}))
        assert records.answers == [("a", {"code": "OK"})]
        assert records.heads == [], "the ledger's head is the site's, not the key's"
        await asyncio.to_thread(records.stored.wait, 5)
        (change,) = records.objects
        assert set(change.rotated) == {"a"}
        assert change.rotated["a"] != change.sites["a"]

    asyncio.run(play())


class Folder:
    """Files of keys, and what reads them."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self.stage = stage
        self.files = KeyFiles(folder / "sites", folder / "hash", folder / "cert.pem", folder / "key.pem")
        self.files.sites.mkdir()
        for site, pem in stage.pems.items():
            (self.files.sites / f"{site}.pem").write_bytes(pem)
        self.files.operator_key_hash.write_text("0" * 64)
        self.hashes = KeyHashes(["0" * 64])
        self.reload = Reload(self.files, 0.1, stage.roster, self.hashes, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_what_the_files_hold_is_in_force_soon_and_a_half_written_one_leaves_all_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def play() -> None:
        stage = Stage()
        folder = Folder(tmp_path, stage)
        await folder.reload.look()
        assert stage.hub.link.sites == stage.pems
        (folder.files.sites / "b.pem").unlink()
        (folder.files.sites / "c.pem").write_bytes(stage.new_key("c")[:60])
        await folder.reload.look()
        assert stage.hub.postbox.sites == ("a", "b"), "one file of the folder is half written"
        (folder.files.sites / "c.pem").write_bytes(public_key_to_bytes(stage.hub.keys["c"].public_key()))
        await folder.reload.look()
        assert stage.hub.postbox.sites == ("a", "c")
        folder.files.operator_key_hash.write_text(f"{'1' * 64}\n{'2' * 64}\n")
        await folder.reload.look()
        assert folder.hashes.hashes == ("1" * 64, "2" * 64)
        folder.files.sites.rename(tmp_path / "away")
        await folder.reload.look()
        await folder.reload.look()
        assert stage.hub.postbox.sites == ("a", "c"), "a folder that is away is no revocation"

        folder.files.operator_key_hash.write_bytes(b"\xff\xfe")
        (tmp_path / "away").rename(folder.files.sites)
        (folder.files.sites / "a.pem").unlink()
        await folder.reload.look()
        assert folder.hashes.hashes == ("1" * 64, "2" * 64)
        assert stage.hub.postbox.sites == ("c",)

    asyncio.run(play())
    (damaged,) = [record for record in caplog.records if record.message == "operator_keys_kept"]
    assert damaged.__dict__["code"] is ErrorCode.BAD_KEY
    kept = [record for record in caplog.records if record.message == "allow_list_kept"]
    assert [record.__dict__["code"] for record in kept] == [ErrorCode.BAD_KEY, ErrorCode.BAD_SETTING]
    logged = [(record.message, record.__dict__["site"]) for record in caplog.records if "site_" in record.message]
    assert ("site_revoked", "b") in logged
    assert ("site_added", "c") in logged
