"""The schema's own words, read by `ast`: docstrings of classes and under each field, in schema.py and the schema_*.py
beside it.

One source serves the types, the JSON Schema and the reference page, so none can drift from the others.
"""

import ast
import inspect
from functools import cache

from freehold.config import (
    schema,
    schema_cache,
    schema_checks,
    schema_guards,
    schema_routing,
    schema_tools,
)

_MODULES = (schema, schema_cache, schema_checks, schema_guards, schema_routing, schema_tools)


@cache
def classes() -> dict[str, str]:
    """Returns each Struct's docstring as one paragraph per blank line, by class name."""
    return {node.name: _clean(ast.get_docstring(node) or "") for node in _tree()}


@cache
def fields() -> dict[tuple[str, str], str]:
    """Returns the text under each field, by (class name, field name)."""
    found = {}
    for node in _tree():
        for before, after in zip(node.body, node.body[1:], strict=False):
            match before, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[node.name, name] = _clean(text)
    return found


def _tree() -> list[ast.ClassDef]:
    sources = [inspect.getsource(module) for module in _MODULES]
    return [node for source in sources for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def _clean(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
