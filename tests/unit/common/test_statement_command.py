"""`fedpriv verify` as an auditor types it."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.statement.cli import app
from tests.statements import MODEL, SITES, Consortium


def test_the_command_line_shows_each_check_and_ends_with_the_first_that_failed(tmp_path: Path) -> None:
    consortium = Consortium.ran(tmp_path)
    for name, key in {"hub": consortium.hub_key, **consortium.site_keys}.items():
        (tmp_path / f"{name}.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    statement, model, page = tmp_path / "statement.json", tmp_path / "model", tmp_path / "page.html"
    statement.write_bytes(consortium.countersign(consortium.statement()))
    model.write_bytes(MODEL)
    options = ["--hub-key", str(tmp_path / "hub.pem"), "--model", str(model), "--page", str(page)]
    options += [f"--site-key={site}={tmp_path / site}.pem" for site in SITES]
    genuine = _verify(statement, *options)
    assert genuine.exit_code == 0, genuine.output
    assert "site-2: epsilon" in genuine.stdout
    assert "<h1>Privacy statement</h1>" in page.read_text()

    page.unlink()
    statement.write_bytes(statement.read_bytes().replace(b'"add_remove":1.0', b'"add_remove":0.5', 1))
    forged = _verify(statement, *options)
    assert isinstance(forged.exception, FedprivError)
    assert forged.exception.code is ErrorCode.STATEMENT_INVALID
    assert forged.exception.message == f"{statement}: hub's signature: not one of the given key over this statement."
    assert "hub's signature  failed" in forged.stdout
    assert not page.exists(), "no page is made of what is not genuine"
    assert _verify(statement, *options[:2], "--site-key=site-1").exit_code == 2


def _verify(statement: Path, *options: str) -> Result:
    return CliRunner().invoke(app, [str(statement), *options])
