"""The API's description: `python -m fedpriv_metrics.openapi > services/metrics-api/openapi.json`.

`python -m fedpriv_metrics.openapi --check services/metrics-api/openapi.v1.json` tells what this version takes away from
those who rely on the baseline of `/v1`, and fails if that is anything; `--extend` with the same file adds to it what is
new, which from then on is promised too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from fedpriv_metrics.app import describe
from fedpriv_metrics.models.stream import StreamEvent
from fedpriv_metrics.problems import MEDIA_TYPE
from fedpriv_metrics.promises import breaking_changes


def document() -> dict[str, Any]:
    """The OpenAPI document of this version."""
    described = describe().openapi()
    for path in described["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                _as_problem(response)
    # Nothing answers with a bare StreamEvent, but pages need its type.
    _, schemas = models_json_schema([(StreamEvent, "serialization")], ref_template="#/components/schemas/{model}")
    described["components"]["schemas"] |= schemas["$defs"]
    return described


def _as_problem(response: dict[str, Any]) -> None:
    """Say the media type that problems really have."""
    content = response.get("content", {})
    if content.get("application/json", {}).get("schema", {}).get("$ref", "").endswith("/Problem"):
        content[MEDIA_TYPE] = content.pop("application/json")


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _main(arguments: list[str]) -> int:
    match arguments:
        case []:
            print(text(), end="")  # noqa: T201 - the document
            return 0
        case ["--check" | "--extend" as what, path]:
            broken = breaking_changes(json.loads(Path(path).read_text()), document())
            print("\n".join(broken) or "nothing is taken away")  # noqa: T201 - the answer
            if what == "--extend" and not broken:
                Path(path).write_text(text())
            return 1 if broken else 0
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201 - how it is used
            return 2


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
