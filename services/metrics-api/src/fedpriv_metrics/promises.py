"""Whether one OpenAPI document keeps what another promised: the rules of `/v1`.

Whoever reads answers may rely on: routes, parameters, fields that are always there and their types, values of
enumerations, media types. Whoever asks may rely on: nothing that is asked becomes an error. So what is answered may
gain fields but lose none, and what is asked may gain optional parameters and values but lose none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

Json = dict[str, Any]
#: Bounds of what is asked; tightened, they turn a good question into an error. True: a higher value is tighter.
_BOUNDS = {
    "minimum": True,
    "exclusiveMinimum": True,
    "minLength": True,
    "minItems": True,
    "maximum": False,
    "exclusiveMaximum": False,
    "maxLength": False,
    "maxItems": False,
}


def breaking_changes(before: Json, after: Json) -> list[str]:
    """What `after` takes away from those who rely on `before`, one line each; empty when nothing."""
    return sorted(set(_routes(before, after)))


def _routes(before: Json, after: Json) -> Iterator[str]:
    for path, operations in before["paths"].items():
        for method, old in operations.items():
            new = after["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if new is None:
                yield f"{where}: is gone"
                continue
            yield from _parameters(where, old, new, before, after)
            yield from _answers(where, old, new, before, after)
    # Types that no route answers with are still generated from, such as the data of events.
    for name, old in before.get("components", {}).get("schemas", {}).items():
        new = after.get("components", {}).get("schemas", {}).get(name)
        if new is None:
            yield f"schema {name}: is gone"
        else:
            yield from _answered(f"schema {name}", old, new, before, after, frozenset({name}))


def _parameters(where: str, old: Json, new: Json, before: Json, after: Json) -> Iterator[str]:
    known = {(each["in"], each["name"]): each for each in old.get("parameters", ())}
    given = {(each["in"], each["name"]): each for each in new.get("parameters", ())}
    for place, parameter in known.items():
        name = f"{where}: parameter {parameter['name']}"
        if place not in given:
            yield f"{name}: is gone"
            continue
        if given[place].get("required") and not parameter.get("required"):
            yield f"{name}: is required now"
        yield from _asked(name, parameter["schema"], given[place]["schema"], before, after)
    for place in given.keys() - known.keys():
        if given[place].get("required"):
            yield f"{where}: parameter {place[1]}: is new and required"


def _asked(where: str, old: Json, new: Json, before: Json, after: Json) -> Iterator[str]:
    old, new = _resolved(old, before), _resolved(new, after)
    if gone := _types(old, before) - _types(new, after):
        yield f"{where}: no longer takes {', '.join(sorted(gone))}"
    if "enum" in new and (gone_values := set(old.get("enum", ())) - set(new["enum"])):
        yield f"{where}: no longer takes {', '.join(sorted(map(str, gone_values)))}"
    if "enum" in new and "enum" not in old:
        yield f"{where}: takes only some values now"
    for bound, higher_is_tighter in _BOUNDS.items():
        was, is_now = old.get(bound), new.get(bound)
        if is_now is not None and (was is None or (is_now > was if higher_is_tighter else is_now < was)):
            yield f"{where}: {bound} is tighter"
    if new.get("pattern") not in (None, old.get("pattern")):
        yield f"{where}: pattern is another"
    if "default" in old and old["default"] != new.get("default"):
        yield f"{where}: default is another"


def _answers(where: str, old: Json, new: Json, before: Json, after: Json) -> Iterator[str]:
    for status, answer in old["responses"].items():
        if not status.startswith("2"):
            continue
        given = new["responses"].get(status)
        if given is None:
            yield f"{where}: is no longer answered with {status}"
            continue
        for media_type, content in answer.get("content", {}).items():
            found = given.get("content", {}).get(media_type)
            if found is None:
                yield f"{where}: is no longer answered in {media_type}"
            else:
                place = f"{where}: answer"
                yield from _answered(place, content.get("schema", {}), found.get("schema", {}), before, after)


def _answered(
    where: str, old: Json, new: Json, before: Json, after: Json, seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    reference = old.get("$ref")
    if reference is not None:
        if reference in seen:
            return
        seen |= {reference}
    old, new = _resolved(old, before), _resolved(new, after)
    if added := _types(new, after) - _types(old, before):
        yield f"{where}: may be {', '.join(sorted(added))} now"
    values: list[Any] = old.get("enum", [])
    if gone := set(values) - set(new.get("enum", values)):
        yield f"{where}: is never {', '.join(sorted(map(str, gone)))} any more"
    for name, field in old.get("properties", {}).items():
        found = new.get("properties", {}).get(name)
        place = f"{where}.{name}"
        if found is None:
            yield f"{place}: is gone"
            continue
        if name in old.get("required", ()) and name not in new.get("required", ()):
            yield f"{place}: may be missing now"
        yield from _answered(place, field, found, before, after, seen)
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from _answered(f"{where}[]", old["items"], new["items"], before, after, seen)


def _types(schema: Json, document: Json) -> set[str]:
    """Every type that a value of the schema may have; references by the name of what they refer to."""
    schema = _resolved(schema, document)
    for way in ("anyOf", "oneOf"):
        if way in schema:
            return {kind for each in schema[way] for kind in _types(each, document)}
    kind = schema.get("type")
    if isinstance(kind, list):
        return set(kind)
    if kind is not None:
        return {kind}
    return {type(value).__name__ for value in (schema.get("const"),) if value is not None}


def _resolved(schema: Json, document: Json) -> Json:
    while (reference := schema.get("$ref")) is not None:
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        schema = cast(Json, found)
    return schema
