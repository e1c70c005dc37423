"""Parts that are taken, statements that are signed, and those that wait for their key without being lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.statement.schema import SignedPart, SignedStatement, SitePart, Statement
from fedpriv_common.statement.sign import sign_part
from fedpriv_common.statement.verify import verify
from fedpriv_server.notary import LocalNotary
from fedpriv_server.outbox import StoredObject
from fedpriv_server.statements import Statements
from tests.statements import EARLIER, RUN, SERVER, Consortium
from tests.waiting import until


class Away:
    """A notary whose key cannot be reached until it `returns`."""

    def __init__(self, notary: LocalNotary) -> None:
        self._notary = notary
        self.returns = threading.Event()
        self.asked = 0

    def sign(self, statement: Statement) -> SignedStatement:
        self.asked += 1
        if not self.returns.is_set():
            raise FedprivError(ErrorCode.STORE_UNAVAILABLE, "KMS is away.", "Wait.")
        return self._notary.sign(statement)


class Shelf:
    """An archive in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}

    def put(self, objects: list[StoredObject]) -> None:
        self.objects |= {entry.key: entry for entry in objects}

    def get(self, key: str) -> bytes | None:
        return self.objects[key].body if key in self.objects else None


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium.ran(tmp_path_factory.mktemp("consortium"))


@pytest.fixture
def away(consortium: Consortium) -> Away:
    return Away(LocalNotary(consortium.hub))


@pytest.fixture
def statements(tmp_path: Path, consortium: Consortium, away: Away) -> Iterator[Statements]:
    opened = open_statements(tmp_path, consortium, away)
    yield opened
    opened.stop()


def open_statements(folder: Path, consortium: Consortium, notary: Away) -> Statements:
    pems = {
        site: key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for site, key in consortium.site_keys.items()
    }
    return Statements(folder / "unsigned", notary, pems, SERVER)


def test_a_signed_statement_goes_out_with_its_page(statements: Statements, consortium: Consortium, away: Away) -> None:
    away.returns.set()
    stored = statements.sign(consortium.statement())
    assert [entry.key for entry in stored] == [keys.statement(RUN), keys.statement_page(RUN)]
    assert verify(stored[0].body, consortium.hub_key, consortium.site_keys).first_failure is None
    assert stored[1].content_type == "text/html; charset=utf-8"
    assert statements.waiting() == []


def test_a_statement_whose_key_is_away_waits_over_a_restart_and_is_then_signed(
    tmp_path: Path, statements: Statements, consortium: Consortium, away: Away
) -> None:
    statement = consortium.statement()
    assert statements.sign(statement) == [], "nothing unsigned goes to the bucket"
    statements.stop()

    again, shelf = open_statements(tmp_path, consortium, away), Shelf()
    assert again.waiting() == [RUN]
    again.start(shelf)  # type: ignore[arg-type]
    until(lambda: away.asked >= 2, "an attempt")
    assert shelf.objects == {}
    away.returns.set()
    until(lambda: again.waiting() == [], "the signature")
    again.stop()
    body = shelf.objects[keys.statement(RUN)].body
    assert verify(body, consortium.hub_key, consortium.site_keys).first_failure is None
    assert json.loads(body)["statement"] == json.loads(statement.model_dump_json())


def test_a_statement_that_came_out_otherwise_is_not_signed_twice(
    statements: Statements, consortium: Consortium, away: Away
) -> None:
    statements.sign(consortium.statement())
    shelf = Shelf()
    shelf.objects[keys.statement(RUN)] = StoredObject(keys.statement(RUN), b"the first")
    away.returns.set()
    statements.start(shelf)  # type: ignore[arg-type]
    until(lambda: statements.waiting() == [], "its end")
    assert shelf.objects[keys.statement(RUN)].body == b"the first"


def test_a_sites_own_part_is_taken(statements: Statements, consortium: Consortium) -> None:
    signed = consortium.parties[0].part()
    assert statements.take_part(consortium.run, "site-1", signed.model_dump_json()) == signed


def test_after_a_rotation_a_part_counts_only_under_the_new_key(statements: Statements, consortium: Consortium) -> None:
    text = consortium.parties[0].part().model_dump_json()
    key = ec.generate_private_key(ec.SECP256R1())
    statements.expel("site-1")
    with pytest.raises(ValueError, match="not signed with the site's key"):
        statements.take_part(consortium.run, "site-1", text)
    statements.admit("site-1", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ValueError, match="not signed with the site's key"):
        statements.take_part(consortium.run, "site-1", text)
    anew = sign_part(SignedPart.model_validate_json(text).part, key)
    assert statements.take_part(consortium.run, "site-1", anew.model_dump_json()) == anew


@pytest.mark.parametrize(
    ("site", "of", "run_id", "words"),
    [
        ("site-2", 0, RUN, "another site"),
        ("site-1", 0, EARLIER, "another site, run"),
        ("site-4", 0, RUN, "another site"),
    ],
)
def test_a_part_of_another_site_or_run_is_not_taken(
    statements: Statements, consortium: Consortium, site: str, of: int, run_id: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        statements.take_part(consortium.run, site, consortium.parties[of].part(run_id).model_dump_json())


def test_a_part_whose_entries_are_not_the_plans_is_not_taken(statements: Statements, consortium: Consortium) -> None:
    content = consortium.parties[0].part().part.model_dump(mode="json")
    content["entries"].append(content["entries"][0])
    signed = sign_part(SitePart.model_validate_json(json.dumps(content)), consortium.parties[0].key)
    with pytest.raises(ValueError, match="charged twice"):
        statements.take_part(consortium.run, "site-1", signed.model_dump_json())


def test_a_waiting_statement_that_cannot_be_read_does_not_keep_others_waiting(
    tmp_path: Path, consortium: Consortium, away: Away
) -> None:
    first = open_statements(tmp_path, consortium, away)
    first.sign(consortium.statement())
    first.stop()
    unreadable = tmp_path / "unsigned" / f"{EARLIER}.json"
    unreadable.write_text('{"schema_version": "1.9"}')
    away.returns.set()
    again, shelf = open_statements(tmp_path, consortium, away), Shelf()
    again.start(shelf)  # type: ignore[arg-type]
    until(lambda: again.waiting() == [], "the other's signature")
    again.stop()
    assert list(shelf.objects) == [keys.statement(RUN), keys.statement_page(RUN)]
    assert unreadable.with_suffix(".damaged").exists()


def test_a_part_that_is_changed_or_none_is_not_taken(statements: Statements, consortium: Consortium) -> None:
    content = json.loads(consortium.parties[0].part().model_dump_json())
    content["part"]["timing"]["overran"] = 7
    with pytest.raises(ValueError, match="not signed with the site's key"):
        statements.take_part(consortium.run, "site-1", json.dumps(content))
    for text in ("{}", "", "[1]", "\ud800"):
        with pytest.raises(ValueError):
            statements.take_part(consortium.run, "site-1", text)
