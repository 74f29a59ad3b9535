"""JSON Schema (2020-12) of freehold.yaml, for editors and for checks in CI: `freehold config schema`.

Generated from the types by msgspec, with descriptions from the docstrings. What types cannot say (names that must
exist, cycles) only `freehold config check` knows. Editors find it through the first line of a file:
`# yaml-language-server: $schema=freehold.schema.json`.
"""

from typing import Any

import msgspec

from freehold.config import describe
from freehold.config.schema import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"

EXAMPLE: dict[str, Any] = {
    "providers": {"openai": {"api_key": "${OPENAI_API_KEY}"}},
    "own": [{"name": "small", "path": "models/small.gguf"}],
    "models": {"fast": ["own/small", "openai/gpt-4o-mini"], "auto": {"among": ["fast"], "objective": "cheapest"}},
    "keys": [{"name": "support-bot", "key": "${SUPPORT_BOT_KEY}", "models": ["fast"]}],
}
"""A small valid file, as plain values."""


def json_schema() -> dict[str, Any]:
    """Returns the schema as plain JSON values."""
    (root,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    for name, component in components.items():
        component["title"] = name
        component["description"] = describe.classes()[name]
        for field, shape in component["properties"].items():
            if text := describe.fields().get((name, field)):
                shape["description"] = text
    return {"$schema": DIALECT, "title": "freehold.yaml", **root, "examples": [EXAMPLE], "$defs": components}
