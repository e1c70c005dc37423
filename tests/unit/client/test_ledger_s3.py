"""What only the ledger in S3 can meet: lost answers, throttling, writers that were overtaken or paused."""

import json

import pytest

from fedpriv_client.privacy.ledger.ledger import Ledger, Replay, Reserved
from fedpriv_client.privacy.ledger.s3 import S3Store
from fedpriv_client.privacy.ledger.store import OvertakenError
from fedpriv_common.accounting import epsilon
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Phase
from fedpriv_common.store import ObjectStore
from tests.emulator import free_port
from tests.faulty_s3 import Fault, faulty_s3
from tests.unit.client.ledgers import DELTA, IDENTITY, PLAN, InS3, admit


@pytest.fixture
def place(ledger_bucket):
    place = InS3.fresh(ledger_bucket)
    place.begin()
    return place


@pytest.fixture
def bad_day(aws_endpoint):
    with faulty_s3(aws_endpoint) as faulty:
        yield faulty


@pytest.fixture
def site(place, bad_day, monkeypatch):
    """A holder of the ledger whose S3 has a bad day. Each call is tried twice."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_day.endpoint)
    objects = ObjectStore.connect(place.bucket, place.kms_key, timeout_s=10, attempts=1)
    store = S3Store.open(objects, place.prefix)
    store.claim(1)
    ledger = Ledger.open(store, place.marker(), IDENTITY)
    admit(ledger)
    return ledger


def refused(action, *arguments):
    with pytest.raises(RefusalError) as raised:
        action(*arguments)
    return raised.value.refusal


def states(place):
    return [line["state"] for line in place.open().export()]


@pytest.mark.parametrize("lost", ["/log/", "/replies/"])
def test_an_entry_whose_answer_was_lost_is_recognised_as_ones_own(place, site, bad_day, lost):
    bad_day.next(Fault.ANSWER_LOST, "PUT", "/log/")
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    bad_day.next(Fault.ANSWER_LOST, "PUT", lost)
    assert site.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"
    assert states(place) == ["committed"]
    assert place.open().reserve("A", 0, Phase.CENTRE, "q") == Replay(b"bytes")


def test_a_claim_whose_answer_was_lost_holds(place, site, bad_day):
    bad_day.next(Fault.ANSWER_LOST, "PUT", "/log/")
    assert site._store.claim(2) == 1
    assert not site.shut_out()
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()


def test_throttling_that_passes_is_waited_out(place, site, bad_day):
    for method, part in (("GET", "list-type"), ("PUT", "/log/")):
        bad_day.next(Fault.THROTTLED, method, part)
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert states(place) == ["reserved"]


@pytest.mark.parametrize(("method", "part"), [("GET", "list-type"), ("PUT", "/log/")])
def test_throttling_that_stays_refuses_and_charges_nothing(place, site, bad_day, method, part):
    bad_day.next(Fault.THROTTLED, method, part, times=2)
    assert refused(site.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.LEDGER_UNAVAILABLE
    assert states(place) == []
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()


@pytest.mark.parametrize("part", ["/log/", "/replies/"])
def test_bytes_that_could_not_be_committed_are_not_given_out(place, site, bad_day, part):
    site.reserve("A", 0, Phase.CENTRE, "q")
    bad_day.next(Fault.THROTTLED, "PUT", part, times=2)
    assert refused(site.commit, "A", 0, Phase.CENTRE, "q", b"lost") is Refusal.LEDGER_UNAVAILABLE
    assert states(place) == ["reserved"]
    # Asked again, the site computes again, on the reservation that is there; what was computed first is never sent.
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert site.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"
    assert states(place) == ["committed"]
    # Nor can whoever reads the bucket have it beside the other: two noises for one charge.
    stored = {key: place.objects.get(key) for key in place.objects.list_keys(f"{place.prefix}/")}
    assert not any(b"lost" in body for body in stored.values())
    sealed = {key.rpartition("/")[2] for key in stored if "/replies/" in key}
    seals = [body.partition(b"\n")[2] for key, body in stored.items() if "/log/" in key]
    named = {json.loads(seal)["name"] for seal in seals if seal}
    assert named < sealed if part == "/log/" else named == sealed


def test_what_was_committed_although_no_answer_ever_came_is_what_is_sent(place, site, bad_day):
    site.reserve("A", 0, Phase.CENTRE, "q")
    bad_day.next(Fault.ANSWER_LOST, "PUT", "/log/")
    bad_day.next(Fault.THROTTLED, "PUT", "/log/")
    assert refused(site.commit, "A", 0, Phase.CENTRE, "q", b"first") is Refusal.LEDGER_UNAVAILABLE
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Replay(b"first")
    assert site.commit("A", 0, Phase.CENTRE, "q", b"second") == b"first"


def test_an_s3_that_is_away_refuses(place, site, monkeypatch):
    site.reserve("A", 0, Phase.CENTRE, "q")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    site._store._objects = ObjectStore.connect(place.bucket, place.kms_key, attempts=0)
    assert refused(site.commit, "A", 0, Phase.CENTRE, "q", b"bytes") is Refusal.LEDGER_UNAVAILABLE
    assert not site.shut_out(), "that it is shut out is not known"
    with pytest.raises(FedprivError) as raised:
        S3Store.open(site._store._objects, place.prefix)
    assert raised.value.code is ErrorCode.STORE_UNAVAILABLE
    assert states(place) == ["reserved"]


def test_a_conflict_of_conditional_writes_is_tried_again(place, site, bad_day):
    bad_day.next(Fault.CONFLICT, "PUT", "/log/")
    assert site.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert states(place) == ["reserved"]


def test_an_overtaken_step_is_decided_again(place, bad_day, monkeypatch):
    """Two that hold no claim, in the same instant: both admissions fit the budget, both together do not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_day.endpoint)
    late = Ledger.open(S3Store.open(ObjectStore.connect(place.bucket, place.kms_key), place.prefix), place.marker())
    limit = 1.2
    bad_day.before("PUT", "/log/", lambda: admit(place.open(), "first", limit=limit))
    with pytest.raises(RefusalError) as raised:
        admit(late, "second", limit=limit)
    assert raised.value.refusal is Refusal.BUDGET_EXHAUSTED
    with place.open().reading() as history:
        assert list(history.runs) == ["first"]
        assert epsilon(history.held(), DELTA) <= limit < epsilon([*history.held(), *PLAN.events()], DELTA)


def test_a_writer_that_is_always_overtaken_refuses(place, bad_day, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_day.endpoint)
    monkeypatch.setattr("fedpriv_client.privacy.ledger.ledger._ATTEMPTS", 3)
    late = Ledger.open(S3Store.open(ObjectStore.connect(place.bucket, place.kms_key), place.prefix), place.marker())
    for number in range(3):
        bad_day.before("PUT", "/log/", lambda number=number: admit(place.open(), f"run-{number}"))
    assert refused(admit, late) is Refusal.LEDGER_UNAVAILABLE
    with place.open().reading() as history:
        assert sorted(history.runs) == ["run-0", "run-1", "run-2"]


@pytest.mark.parametrize("step", ["reserve", "commit", "close"])
def test_a_holder_that_was_paused_between_its_look_and_its_put_writes_nothing(place, site, bad_day, step):
    """The put that was under way while another process claimed the ledger arrives, and finds the claim in its place."""
    site.reserve("A", 0, Phase.CENTRE, "q")
    successor = place.store()
    bad_day.before("PUT", "/log/", lambda: successor.claim(2))
    late = {
        "reserve": lambda: site.reserve("A", 1, Phase.TRAIN, "r"),
        "commit": lambda: site.commit("A", 0, Phase.CENTRE, "q", b"late"),
        "close": lambda: site.close("A"),
    }
    assert refused(late[step]) is Refusal.LEDGER_UNAVAILABLE
    assert site.shut_out()
    assert states(place) == ["reserved"]
    ledger = Ledger.open(successor, place.marker(), IDENTITY)
    assert ledger.reserve("A", 0, Phase.CENTRE, "q") == Reserved()
    assert ledger.commit("A", 0, Phase.CENTRE, "q", b"bytes") == b"bytes"


def test_a_claim_that_comes_second_knows_what_was_written_before_it(place, site, bad_day):
    """The other order: the holder's entry arrives first, so the claim is made again with it known."""
    successor = S3Store.open(site._store._objects, place.prefix)
    bad_day.before("PUT", "/log/", lambda: admit(place.open(), "B"))
    assert successor.claim(2) == 1
    with Ledger.open(successor, place.marker()).reading() as history:
        assert list(history.runs) == ["A", "B"]


def test_of_two_that_claim_at_once_the_lower_token_learns_of_the_higher(place, site, bad_day):
    slow = S3Store.open(site._store._objects, place.prefix)
    bad_day.before("PUT", "/log/", lambda: place.store().claim(3))
    assert slow.claim(2) == 3
    assert refused(site.reserve, "A", 0, Phase.CENTRE, "q") is Refusal.LEDGER_UNAVAILABLE


def test_an_object_that_goes_missing_under_a_running_site_is_noticed(place, site):
    site.reserve("A", 0, Phase.CENTRE, "q")
    place.remove(3)  # the reservation: after genesis, claim and admission
    assert refused(site.commit, "A", 0, Phase.CENTRE, "q", b"bytes") is Refusal.LEDGER_UNAVAILABLE
    assert refused(site.reserve, "A", 1, Phase.TRAIN, "r") is Refusal.LEDGER_UNAVAILABLE


@pytest.mark.parametrize("body", [b'{"claim":"x"}', b'{"claim":'])
def test_an_edited_claim_is_refused(place, body):
    place.store().claim(1)
    admit(place.open())
    place.edit(1, lambda _: body)
    with pytest.raises(FedprivError, match="is no claim") as raised:
        place.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_a_removed_claim_is_refused(place):
    place.store().claim(1)
    admit(place.open())
    place.remove(1)
    with pytest.raises(FedprivError, match="is missing") as raised:
        place.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_every_object_is_put_once_with_the_ledgers_own_key(place, site, bad_day):
    sent = []
    site._store._objects.client.meta.events.register(
        "before-send.s3.*", lambda request, **_: sent.append((request.method, request.headers))
    )
    site.reserve("A", 0, Phase.CENTRE, "q")
    site.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    puts = [headers for method, headers in sent if method == "PUT"]
    assert {method for method, _ in sent} == {"GET", "PUT"}
    assert len(puts) == 3  # reservation, reply, entry
    for headers in puts:
        text = {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
        assert text["if-none-match"] == "*"
        assert text["x-amz-server-side-encryption-aws-kms-key-id"] == place.kms_key
        assert text["x-amz-checksum-sha256"]


def test_two_that_begin_at_once_begin_one_ledger(ledger_bucket, bad_day, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_day.endpoint)
    place = InS3.fresh(ledger_bucket)
    slow = S3Store(ObjectStore.connect(place.bucket, place.kms_key), place.prefix)
    bad_day.before("PUT", "/log/", place.begin)
    ledger = Ledger.begin(slow, place.marker(), IDENTITY)
    with ledger.reading() as mine, place.open().reading() as theirs:
        assert mine.hashes == theirs.hashes
        assert len(mine.hashes) == 1


def test_a_store_says_when_it_was_overtaken(place):
    first, second = place.store(), place.store()
    with first.exclusive(), second.exclusive():
        first.append(1, b'{"at":1}')
        with pytest.raises(OvertakenError):
            second.append(1, b'{"at":2}')
        with pytest.raises(FileExistsError):
            first.append(1, b'{"at":3}')


# -- packs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def packed(place, monkeypatch):
    """A ledger of six objects, the first four of which are in two packs."""
    monkeypatch.setattr("fedpriv_client.privacy.ledger.s3.PACK_SIZE", 2)
    ledger = place.open()
    admit(ledger)
    ledger.reserve("A", 1, Phase.TRAIN, "q")
    ledger.commit("A", 1, Phase.TRAIN, "q", b"bytes")
    assert place.store().claim(1) == -1
    assert len(list(place.objects.list_keys(f"{place.prefix}/packs/"))) == 2
    admit(ledger, "B")
    return place


def fetched(place, bad_day, monkeypatch):
    """Numbers of the log's objects that opening the ledger gets one by one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_day.endpoint)
    store = S3Store.open(ObjectStore.connect(place.bucket, place.kms_key), place.prefix)
    Ledger.open(store, place.marker(), IDENTITY)
    return sorted(int(path[-12:]) for method, path in bad_day.seen if method == "GET" and "/log/" in path)


def test_what_is_packed_is_not_fetched_one_by_one(packed, bad_day, monkeypatch):
    assert fetched(packed, bad_day, monkeypatch) == [4, 5]


MISFITS = {
    "empty": lambda _: b"",
    "a list": lambda _: b"[]",
    "without bodies": lambda pack: json.dumps({"etags": pack["etags"]}).encode(),
    "of too few": lambda pack: json.dumps(pack | {"bodies": pack["bodies"][:1]}).encode(),
    "of other objects": lambda pack: json.dumps(pack | {"etags": pack["etags"][::-1]}).encode(),
    "with no text": lambda pack: json.dumps(pack | {"bodies": [1, 2]}).encode(),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_pack_that_does_not_fit_is_left_aside(packed, bad_day, monkeypatch, misfit):
    key = f"{packed.prefix}/packs/000000001"
    content = MISFITS[misfit](json.loads(packed.objects.get(key)))
    packed.objects.client.put_object(Bucket=packed.bucket, Key=key, Body=content)
    assert fetched(packed, bad_day, monkeypatch) == [2, 3, 4, 5]


TAMPERING = {
    "edited": lambda place: place.edit(2, lambda body: body.replace(b"steps", b"stepz")),
    "removed": lambda place: place.remove(2),
    "moved": lambda place: (place.remove(2), place.renumber(3, 2)),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_pack_hides_nothing_that_was_done_to_the_log(packed, how):
    TAMPERING[how](packed)
    with pytest.raises(FedprivError) as raised:
        packed.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID


def test_a_pack_that_says_something_else_breaks_the_chain(packed):
    key = f"{packed.prefix}/packs/000000001"
    original = packed.objects.get(key)
    forged = original.replace(b"reserved", b"reservex")
    assert forged != original
    packed.objects.client.put_object(Bucket=packed.bucket, Key=key, Body=forged)
    with pytest.raises(FedprivError) as raised:
        packed.open()
    assert raised.value.code is ErrorCode.LEDGER_INVALID
