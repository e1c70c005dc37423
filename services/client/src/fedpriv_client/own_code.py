"""Which code this is: a digest of its source files, so that an audit cannot be shown for other code."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from fedpriv_common.audit_result import AuditResult, load_audit
from fedpriv_common.errors import ErrorCode, FedprivError

_PACKAGES = ("fedpriv_client", "fedpriv_common")


def code_digest() -> str:
    """SHA-256 over names and contents of the site's own source files and contracts, in order of their names."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(path for suffix in ("*.py", "*.yaml") for path in root.rglob(suffix)):
            content = path.read_bytes()
            name = f"{package}/{path.relative_to(root).as_posix()}"
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def load_own_audit(path: Path) -> AuditResult:
    """Read the audit of the code that is running. Raises BAD_AUDIT for none, and for one of other code."""
    audit = load_audit(path)
    own = code_digest()
    if audit.code_digest != own:
        raise FedprivError(
            ErrorCode.BAD_AUDIT,
            f"Audit {path} is of other code: its source files are {audit.code_digest[:12]}, these are {own[:12]}.",
            f"Run `fedpriv audit --out {path}` in this image.",
        )
    return audit
