"""Where a ledger is: what settings and commands take for it, on disk and in S3."""

import json
from pathlib import Path

import pytest
import typer

from fedpriv_client.assemble import assemble
from fedpriv_client.cli import export_ledger, init_ledger, show_ledger, verify_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.privacy.ledger.location import S3Url, parse_location, share_storage
from fedpriv_client.privacy.ledger.opening import open_ledger
from fedpriv_client.settings import SiteSettings
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal, RefusalError
from fedpriv_common.plan import Phase
from fedpriv_common.settings import load_settings
from tests.unit.client.ledgers import InS3, admit

CONTRACT = "breast-cancer-wisconsin"


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("/var/ledger.sqlite", Path("/var/ledger.sqlite")),
        ("s3://a-bucket/v1/ledgers/{partition}", S3Url("a-bucket", "v1/ledgers/{partition}")),
        ("s3://a.bucket/prefix/", S3Url("a.bucket", "prefix")),
    ],
)
def test_a_location_is_a_path_or_an_s3_url(text, location):
    assert parse_location(text) == location
    assert parse_location(str(location)) == location


@pytest.mark.parametrize("text", ["s3://", "s3://bucket", "s3://bucket/", "s3://Bucket/prefix", "s3:///prefix"])
def test_an_s3_url_that_names_nothing_is_no_location(text):
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        parse_location(text)


@pytest.mark.parametrize(
    ("ledger", "marker", "shared"),
    [
        ("s3://here/ledgers/0", "s3://here/ledgers/0/marker", True),
        ("s3://here/ledgers/0", "s3://here/ledgers", True),
        ("s3://here/ledgers/0", "s3://here/ledgers/0-marker", False),
        ("s3://here/ledgers/0", "s3://there/ledgers/0/marker", False),
        ("s3://here/ledgers/0", "/markers/0.json", False),
        ("/ledgers/0.sqlite", "s3://here/markers/0.json", False),
    ],
)
def test_a_marker_belongs_elsewhere_than_its_ledger(ledger, marker, shared):
    assert share_storage(parse_location(ledger), parse_location(marker)) is shared


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def load(monkeypatch, tmp_path):
    files = ("ca", "node_key", "data", "site_key", "state_dir")
    variables = {
        "SITE": "hospital-{partition}",
        "SERVER": "hub.example:8080",
        "CONTRACT": CONTRACT,
        **{name.upper(): f"{tmp_path}/{name}-{{partition}}" for name in files},
        "SITE_KEY": f"{tmp_path}/site.key",
        "DATA": f"{tmp_path}/records.csv",
        "LEDGER": "s3://ledgers/v1/ledgers/{partition}",
        "LEDGER_MARKER": "s3://ledgers/v1/markers/{partition}",
        "LEDGER_KMS_KEY": "alias/fedpriv-ledgers",
        "LEASE_TABLE": "leases",
        "PARTITIONS": "3",
    }

    def load(**changes):
        for name, value in (variables | changes).items():
            monkeypatch.setenv(f"FEDPRIV_{name}", value)
        return load_settings(SiteSettings)

    return load


def test_each_partition_has_its_own_prefix(load):
    settings = load().for_partition(2)
    assert settings.ledger == S3Url("ledgers", "v1/ledgers/2")
    assert settings.ledger_marker == S3Url("ledgers", "v1/markers/2")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"LEASE_TABLE": ""}, "FEDPRIV_LEASE_TABLE.*written only under the partition's lease"),
        ({"LEDGER_KMS_KEY": ""}, "FEDPRIV_LEDGER_KMS_KEY.*needed"),
        ({"LEDGER_KMS_KEY": "", "LEDGER": "/l/{partition}"}, "FEDPRIV_LEDGER_KMS_KEY.*needed"),
        ({"LEDGER": "s3://ledgers"}, "FEDPRIV_LEDGER.*s3://bucket/prefix"),
        ({"LEDGER": "s3://ledgers/all"}, "FEDPRIV_LEDGER must hold {partition}"),
        ({"LEDGER_MARKER": "s3://ledgers/v1/ledgers/{partition}/marker"}, "FEDPRIV_LEDGER_MARKER.*lost together"),
    ],
)
def test_a_ledger_in_s3_that_could_not_be_trusted_stops_the_start(load, changes, told):
    with pytest.raises(FedprivError, match=told) as raised:
        load(**changes)
    assert raised.value.code is ErrorCode.BAD_SETTING


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def urls(ledger_bucket, aws_endpoint):
    """Ledger, marker and key, as a person would give them."""
    place = InS3.fresh(ledger_bucket)
    ledger = f"s3://{place.bucket}/{place.prefix}-{{partition}}"
    return ledger, ledger.replace("ledgers/", "markers/"), place.kms_key


def test_the_commands_do_in_s3_what_they_do_on_disk(urls, tmp_path, capsys):
    ledger, marker, kms_key = urls
    key = tmp_path / "site.key"
    for _ in range(2):  # done twice, it changes nothing
        init_ledger(ledger, marker, CONTRACT, key, partitions=2, every=True, kms_key=kms_key)
    assert "-1 is the ledger of breast-cancer-wisconsin@1, partition 1 of 2" in capsys.readouterr().out
    own = [parse_location(text.replace("{partition}", "1")) for text in (ledger, marker)]
    opened = open_ledger(*own, kms_key=kms_key)
    admit(opened)
    opened.reserve("A", 0, Phase.CENTRE, "q")
    opened.commit("A", 0, Phase.CENTRE, "q", b"bytes")
    # A reader needs no key of its own.
    verify_ledger(ledger, marker, 1)
    assert "4 entries" in capsys.readouterr().out
    export_ledger(ledger, marker, 1)
    assert json.loads(capsys.readouterr().out)["state"] == "committed"
    show_ledger(ledger, marker, CONTRACT, 1)
    assert "add/remove one record" in capsys.readouterr().out
    verify_ledger(ledger, marker, 0)
    assert "1 entries" in capsys.readouterr().out


def test_a_ledger_that_was_lost_is_not_begun_again(urls, tmp_path, ledger_bucket):
    ledger, marker, kms_key = urls
    init_ledger(ledger, marker, CONTRACT, tmp_path / "site.key", kms_key=kms_key)
    url = parse_location(ledger.replace("{partition}", "0"))
    InS3(url.bucket, kms_key, ledger_bucket, url.key).lose()
    for action in (
        lambda: init_ledger(ledger, marker, CONTRACT, tmp_path / "site.key", kms_key=kms_key),
        lambda: verify_ledger(ledger, marker),
    ):
        with pytest.raises(FedprivError) as raised:
            action()
        assert raised.value.code is ErrorCode.LEDGER_MISSING


@pytest.mark.parametrize(
    "changes", [{"kms_key": None}, {"ledger": "s3://Bucket/prefix"}, {"marker": "s3://bucket/ledgers/0"}]
)
def test_a_ledger_in_s3_is_not_begun_where_it_would_not_be_safe(tmp_path, changes):
    given = {"ledger": "s3://bucket/ledgers", "marker": "s3://bucket/markers", "kms_key": "alias/any"}
    with pytest.raises(typer.BadParameter):
        init_ledger(contract=CONTRACT, site_key=tmp_path / "site.key", **(given | changes))


# -- the site ----------------------------------------------------------------------------------------------------------


class Held:
    """A lease that is held, as far as a ledger asks."""

    def __init__(self, token):
        self.token, self.partition = token, 0

    def require(self):
        """It is."""


def test_a_site_with_a_ledger_in_s3_claims_it_and_shuts_the_former_holder_out(urls, load, tmp_path):
    ledger, marker, kms_key = urls
    write_files(tmp_path)
    init_ledger(ledger, marker, CONTRACT, tmp_path / "site.key", partitions=3, every=True, kms_key=kms_key)
    settings = load(LEDGER=ledger, LEDGER_MARKER=marker, LEDGER_KMS_KEY=kms_key).for_partition(0)
    former, holder = assemble(settings, Held(1)), assemble(settings, Held(2))
    with pytest.raises(FedprivError) as raised:
        former.require_lease()
    assert raised.value.code is ErrorCode.LEASE_LOST
    with pytest.raises(RefusalError) as refused:
        admit(former.ledger)
    assert refused.value.refusal is Refusal.LEDGER_UNAVAILABLE
    holder.require_lease()
    admit(holder.ledger)
    assert holder.epsilon_spent() == 0.0
