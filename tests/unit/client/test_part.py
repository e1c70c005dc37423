"""At a run's close, a site signs what its ledger says of it: all of it, nothing else, and nothing of a record."""

import json

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fedpriv_client.privacy.part import Signatory
from fedpriv_client.site import Site
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.statement.schema import SignedPart
from fedpriv_common.statement.sign import holds
from fedpriv_common.wire import OK, Operation, Reply, Request
from tests.unit.client.conftest import CONTRACT, RUN, SiteOnDisk, admission, plan_of, records, release

KEY = ec.generate_private_key(ec.SECP256R1())
PLAN = plan_of(rounds=3, evaluations=0)
CLOSE = Request(operation=Operation.CLOSE, run_id=RUN)


def start(on_disk, plan=PLAN):
    site = on_disk.start()
    return Site(
        CONTRACT, on_disk.policy, on_disk.ledger, site._make_trainer, on_disk.requests, Signatory("site-1", KEY)
    )


def ran(site, plan=PLAN, rounds=(1, 2)):
    """Admitted and asked for some of its rounds; the replies."""
    replies = [site.handle(admission(plan)), site.handle(release(plan, 0, "centre"))]
    replies += [site.handle(release(plan, number, "train")) for number in rounds]
    assert {reply.code for reply in replies} == {OK}
    return replies


def test_the_part_holds_every_release_of_the_run_and_is_signed(on_disk):
    site = start(on_disk)
    replies = ran(site)
    reply = site.handle(CLOSE)
    signed = SignedPart.model_validate_json(reply.part)
    part = signed.part
    assert holds(part, signed.signature, KEY.public_key())
    assert [(entry.phase, entry.round) for entry in part.entries] == [("centre", 0), ("train", 1), ("train", 2)]
    assert [entry.reply_digest for entry in part.entries] == [sha256_hex(sent.payload) for sent in replies[1:]]
    assert (part.ledger.seq, part.ledger.head) == (reply.facts.ledger_seq, reply.facts.ledger_head)
    assert part.epsilon.run.add_remove == pytest.approx(reply.facts.epsilon_run, rel=1e-6)
    assert part.software.packages["torch"].startswith("2.")


def test_only_a_close_is_answered_with_a_part(on_disk):
    assert all(reply.part == "" for reply in ran(start(on_disk)))
    assert Reply.from_fields(Reply(code=OK, part="x").to_fields()).part == "x"


def test_what_was_reserved_and_never_sent_is_in_it_and_counts(on_disk):
    site = start(on_disk)
    ran(site, rounds=(1,))
    on_disk.ledger.reserve(RUN, 2, "train", release(PLAN, 2, "train").digest())
    whole = SignedPart.model_validate_json(start(on_disk).handle(CLOSE).part).part
    assert [(entry.state, entry.reply_digest is None) for entry in whole.entries] == [
        ("committed", False),
        ("committed", False),
        ("reserved", True),
    ]


def test_the_run_is_closed_and_says_the_same_when_asked_again(on_disk):
    site = start(on_disk)
    ran(site)
    first = json.loads(site.handle(CLOSE).part)["part"]
    again = json.loads(start(on_disk).handle(CLOSE).part)["part"]
    for part in (first, again):
        del part["at"], part["timing"]  # a new process counts anew, and says since when
    assert again == first


def test_answers_that_took_longer_than_the_public_time_are_counted(on_disk):
    plan = PLAN.model_copy(update={"min_reply_ms": 0})
    site = start(on_disk)
    ran(site, plan)
    assert SignedPart.model_validate_json(site.handle(CLOSE).part).part.timing.overran == 3


@pytest.mark.parametrize("count", [0, 61])
def test_no_record_changes_anything_but_the_noise(tmp_path, count):
    """Whatever the records are, a part differs only in what is different in every run: noise, times, the ledger."""

    def part_over(folder, data):
        folder.mkdir()
        site = start(SiteOnDisk(folder, data=data))
        ran(site)
        part = json.loads(site.handle(CLOSE).part)["part"]
        for field in ("at", "ledger", "timing"):
            del part[field]
        for entry in part["entries"]:
            del entry["reply_digest"]
        return part

    data = records(count)
    if count:
        data.z[0] = np.nan
    assert part_over(tmp_path / "one", records()) == part_over(tmp_path / "other", data)


def test_a_run_that_was_never_admitted_has_no_part(on_disk):
    assert start(on_disk).handle(CLOSE) == Reply(code="NOT_ADMITTED")
