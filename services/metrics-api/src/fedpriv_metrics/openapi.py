"""The API's description: `python -m fedpriv_metrics.openapi > services/metrics-api/openapi.json`."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from fedpriv_metrics.app import describe
from fedpriv_metrics.models.stream import StreamEvent
from fedpriv_metrics.problems import MEDIA_TYPE


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


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - the document
