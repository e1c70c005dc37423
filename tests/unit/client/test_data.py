"""Where records go: by key, once, for ever."""

import sys
import traceback

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_client.assemble import assemble
from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import CONTRACT, load_table, public_fifth, write_files
from fedpriv_client.data.partition import SiteKey, assign, dirichlet_partition, unit_ids
from fedpriv_client.data.site_data import load_site_data
from fedpriv_client.settings import SiteSettings
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.table import Table, read_csv

from .conftest import admission, plan_of, release

KEY = SiteKey(bytes(range(32)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("demo"))


def test_the_public_fifth_is_at_no_site(demo):
    contract, table = load_table()
    records, validation = (read_csv(path, contract) for path in demo)
    assert (len(records), len(validation)) == (455, 114)
    rows = {row.tobytes() for row in records.features}
    assert not rows & {row.tobytes() for row in validation.features}
    assert rows | {row.tobytes() for row in validation.features} == {row.tobytes() for row in table.features}


def test_the_public_fifth_does_not_depend_on_the_order_of_the_table():
    _, table = load_table()
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = Table(table.features[order], table.labels[order], None)
    np.testing.assert_array_equal(public_fifth(table)[order], public_fifth(shuffled))


def test_partitions_are_disjoint_and_complete(demo):
    contract, _ = load_table()
    parts = [
        load_site_data(demo[0], contract, KEY, partition=index, partitions=3, held_out_share=0.0) for index in range(3)
    ]
    assert sum(len(part) for part in parts) == 455
    assert len({row.tobytes() for part in parts for row in part.z}) == 455
    assert min(len(part) for part in parts) > 100


@settings(max_examples=20)
@given(st.integers(0, 454), st.integers(2, 7), st.floats(0, 0.5))
def test_removing_a_record_moves_no_other(demo, gone, partitions, share):
    contract, _ = load_table()
    table = read_csv(demo[0], contract)
    keep = np.arange(len(table)) != gone
    whole, without = (assign(unit_ids(part), KEY, partitions, share) for part in (table, table.take(keep)))
    np.testing.assert_array_equal(whole.partition[keep], without.partition)
    np.testing.assert_array_equal(whole.held_out[keep], without.held_out)


def test_held_out_records_are_about_the_declared_share():
    ids = [str(index).encode() for index in range(20_000)]
    placed = assign(ids, KEY, 3, 0.2)
    assert placed.held_out.mean() == pytest.approx(0.2, abs=0.02)
    assert not assign(ids, KEY, 3, 0.0).held_out.any()


def test_records_of_one_group_stay_together():
    table = Table(np.zeros((6, 2)), np.zeros(6, dtype=np.int64), ("a", "b", "a", "c", "b", "a"))
    partition = assign(unit_ids(table), KEY, 50, 0.0).partition
    assert partition[0] == partition[2] == partition[5]
    assert partition[1] == partition[4]


def test_another_key_places_records_otherwise():
    ids = [str(index).encode() for index in range(100)]
    other = SiteKey(bytes(32))
    assert (assign(ids, KEY, 5, 0.0).partition != assign(ids, other, 5, 0.0).partition).any()
    assert KEY.commitment() != other.commitment()


@pytest.mark.parametrize("text", ["", "zz", "00ff"])
def test_a_faulty_site_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(FedprivError) as raised:
        SiteKey.read(tmp_path / "key")
    assert raised.value.code is ErrorCode.BAD_KEY


def test_dirichlet_skews_labels_and_keeps_every_record():
    labels = np.repeat([0, 1], 500)
    parts = dirichlet_partition(labels, 4, 0.3, np.random.default_rng(2))
    shares = [labels[parts == part].mean() for part in range(4) if (parts == part).any()]
    assert set(parts) <= set(range(4))
    assert max(shares) - min(shares) > 0.2


def test_the_site_file_is_opened_once_and_by_nothing_but_data(demo, tmp_path):
    """A whole run is served while every opening of a file in this process is watched."""
    opened = []

    def watch(event, arguments):
        if event == "open" and watching and str(arguments[0]) == str(demo[0]):
            frames = [frame.filename for frame in traceback.extract_stack()]
            opened.append(any("fedpriv_client/data/" in name for name in frames))

    watching = True
    sys.addaudithook(watch)
    paths = {name: tmp_path / name for name in ("ledger", "ledger_marker", "site_key")}
    init_ledger(paths["ledger"], paths["ledger_marker"], CONTRACT, paths["site_key"], 0, 3)
    unused = {name: tmp_path / name for name in ("ca", "node_key", "state_dir")}
    settings = SiteSettings(
        site="site-1", server="127.0.0.1:1", contract=CONTRACT, data=demo[0], partitions=3, **paths, **unused
    )
    site = assemble(settings).site
    plan = plan_of()
    replies = [site.handle(admission(plan)), site.handle(release(plan, 0, "centre"))]
    replies += [site.handle(release(plan, number, "train")) for number in range(1, plan.rounds + 1)]
    watching = False
    assert {reply.code for reply in replies} == {"OK"}
    assert opened == [True]
