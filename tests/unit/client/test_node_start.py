"""Settings, keys and files of a site: each fault has its code, and none is found out later."""

import sqlite3

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fedpriv_client.assemble import assemble
from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.fleet import read_authority, read_node_key
from fedpriv_client.prometheus import SiteFigures
from fedpriv_client.settings import SiteSettings
from fedpriv_client.state import StateDir
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal
from fedpriv_common.settings import load_settings
from fedpriv_common.wire import OK, Reply, SiteFacts

FILES = ("ca", "node_key", "data", "ledger", "ledger_marker", "site_key", "state_dir")


@pytest.fixture
def variables(tmp_path):
    named = {"SITE": "site-1", "SERVER": "hub.example:8080", "CONTRACT": "breast-cancer-wisconsin"}
    return {**named, **{name.upper(): str(tmp_path / name) for name in FILES}}


@pytest.fixture
def load(monkeypatch, variables):
    def load(**changes):
        for name, value in (variables | changes).items():
            monkeypatch.setenv(f"FEDPRIV_{name}", value)
        return load_settings(SiteSettings)

    return load


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("hub.example:8080", "https://hub.example:8080"),
        ("127.0.0.1:9", "https://127.0.0.1:9"),
        ("[::1]:8080", "https://[::1]:8080"),
        ("https://hub.example", "https://hub.example:443"),
        ("https://hub.example:8443/", "https://hub.example:8443"),
        ("https://[::1]", "https://[::1]:443"),
    ],
)
def test_a_server_is_an_address_or_an_https_url(load, given, url):
    assert load(SERVER=given).server == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER", "hub.example"),
        ("SERVER", "http://hub.example:8080"),
        ("SERVER", "https://hub.example:8080/v1"),
        ("SERVER", "https://user@hub.example:8080"),
        ("SERVER", "hub.example:70000"),
        ("SERVER", "hub.example:0"),
        ("SITE", "global"),
        ("SITE", "Site 1"),
        ("PARTITIONS", "0"),
        ("PARTITION", "-1"),
        ("PROMETHEUS_PORT", "65536"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(load, name, value):
    with pytest.raises(FedprivError) as raised:
        load(**{name: value})
    assert raised.value.code is ErrorCode.BAD_SETTING
    assert f"FEDPRIV_{name}: " in raised.value.message


def test_a_partition_must_be_one_of_the_partitions(load):
    assert load(PARTITION="2", PARTITIONS="3").partition == 2
    with pytest.raises(FedprivError, match="partition 3 is not one of 0…2"):
        load(PARTITION="3", PARTITIONS="3")


def test_an_empty_variable_is_one_that_is_not_set(load):
    assert load(POLICY="").policy is None
    with pytest.raises(FedprivError, match="FEDPRIV_NODE_KEY: Field required"):
        load(NODE_KEY="")


def _pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        _pem(ec.generate_private_key(ec.SECP384R1())),
        _pem(ed25519.Ed25519PrivateKey.generate()),
        _pem(ec.generate_private_key(ec.SECP256R1()), b"secret"),
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "P-384", "Ed25519", "encrypted", "public"],
)
def test_only_a_p256_private_key_is_a_node_key(tmp_path, content):
    path = tmp_path / "node.key"
    path.write_bytes(content)
    with pytest.raises(FedprivError) as raised:
        read_node_key(path)
    assert raised.value.code is ErrorCode.BAD_KEY
    assert str(path) in raised.value.message


def test_a_p256_private_key_is_a_node_key(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "node.key").write_bytes(_pem(key))
    assert read_node_key(tmp_path / "node.key").private_numbers() == key.private_numbers()


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_ca_must_be_a_certificate(tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(FedprivError) as raised:
        read_authority(tmp_path / "ca.pem")
    assert raised.value.code is ErrorCode.BAD_KEY


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def provisioned(load, tmp_path):
    records, _ = write_files(tmp_path)
    given = load(DATA=str(records), PARTITION="1", PARTITIONS="3")
    init_ledger(given.ledger, given.ledger_marker, given.contract, given.site_key, 1, 3)
    return given


def test_a_provisioned_site_is_assembled_with_nothing_spent(provisioned):
    assembled = assemble(provisioned)
    assert assembled.epsilon_spent() == 0.0
    assert assembled.contract.dataset == "breast-cancer-wisconsin@1"


def _without(name):
    return lambda settings: getattr(settings, name).unlink()


def _written(name, text):
    return lambda settings: getattr(settings, name).write_text(text)


def _emptied_ledger(settings):
    with sqlite3.connect(settings.ledger) as ledger:
        ledger.execute("DROP TABLE entries")
        ledger.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")


def _other_header(settings):
    settings.data.write_text(settings.data.read_text().replace("radius", "circumference", 1))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (ErrorCode.DATA_FORMAT, _without("data")),
        (ErrorCode.DATA_FORMAT, _other_header),
        (ErrorCode.BAD_KEY, _without("site_key")),
        (ErrorCode.LEDGER_MISSING, _without("ledger")),
        (ErrorCode.LEDGER_INVALID, _without("ledger_marker")),
        (ErrorCode.LEDGER_INVALID, _emptied_ledger),
        (ErrorCode.LEDGER_MISMATCH, _written("site_key", "ab" * 32)),
    ],
)
def test_a_fault_of_a_file_shows_before_the_site_is_online(provisioned, code, change):
    change(provisioned)
    with pytest.raises(FedprivError) as raised:
        assemble(provisioned)
    assert raised.value.code is code


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        (ErrorCode.BAD_CONTRACT, "CONTRACT", "nobody-knows"),
        (ErrorCode.BAD_POLICY, "POLICY", "/nowhere/policy.yaml"),
        (ErrorCode.BAD_AUDIT, "AUDIT", "/nowhere/audit.json"),
        (ErrorCode.LEDGER_MISMATCH, "PARTITION", "0"),
        (ErrorCode.LEDGER_MISMATCH, "PARTITIONS", "4"),
    ],
)
def test_a_site_that_is_set_otherwise_than_its_ledger_is_refused(provisioned, load, code, name, value):
    common = {"DATA": str(provisioned.data), "PARTITION": "1", "PARTITIONS": "3"}
    with pytest.raises(FedprivError) as raised:
        assemble(load(**(common | {name: value})))
    assert raised.value.code is code


# -- state and figures -------------------------------------------------------------------------------------------------


def test_a_node_id_is_remembered(tmp_path):
    first = StateDir(tmp_path / "state")
    assert first.node_id is None
    first.node_id = 2**63 + 1
    first.close()
    assert StateDir(tmp_path / "state").node_id == 2**63 + 1


def test_a_node_id_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "node_id").write_text("17 or so")
    assert StateDir(tmp_path).node_id is None


def test_a_state_folder_is_held_by_one_at_a_time(tmp_path):
    holder = StateDir(tmp_path)
    with pytest.raises(FedprivError, match="in use by another process") as raised:
        StateDir(tmp_path)
    assert raised.value.code is ErrorCode.BAD_SETTING
    holder.close()
    StateDir(tmp_path)


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FedprivError, match="FEDPRIV_STATE_DIR"):
        StateDir(tmp_path / "file" / "state")


def test_figures_are_public_facts_and_nothing_of_the_process():
    figures = SiteFigures()
    facts = SiteFacts(
        dataset="d@1",
        epsilon_run=0.5,
        epsilon_spent=1.5,
        epsilon_planned=2.0,
        epsilon_limit=8.0,
        delta=1e-5,
        policy_digest="0" * 64,
        ledger_seq=3,
        ledger_head="1" * 64,
    )
    figures.online(True)
    figures.replied(Reply(code=OK, facts=facts))
    figures.replied(Reply(code=Refusal.BUDGET_EXHAUSTED))
    read = figures.registry.get_sample_value
    assert read("fl_site_online") == 1
    assert read("fl_site_replies_total", {"code": "OK"}) == 1
    assert read("fl_site_replies_total", {"code": "BUDGET_EXHAUSTED"}) == 1
    assert read("fl_privacy_epsilon_spent", {"dataset": "d@1"}) == 1.5
    assert read("fl_privacy_epsilon_limit", {"dataset": "d@1"}) == 8.0
    assert {metric.name for metric in figures.registry.collect()} == {
        "fl_site_online",
        "fl_site_standing_by",
        "fl_site_replies",
        "fl_privacy_epsilon_spent",
        "fl_privacy_epsilon_limit",
    }
