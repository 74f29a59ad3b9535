"""Writes docs/configuration.md from the schema: `python -m freehold.config.reference > docs/configuration.md`."""

import sys
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec.inspect import DictType, Field, ListType, NoneType, StructType, Type

from freehold.config import describe
from freehold.config.explain import alternatives, expected, schema_type
from freehold.config.schema_json import EXAMPLE

_HEAD = """\
# Configuration

Everything is optional: with no file at all, the gateway serves the model in the box and every provider whose key it
finds in the environment. It reads the file given by `--config`, else `freehold.yaml` in the working folder, else
`freehold.yaml` in `FREEHOLD_HOME`.

- `${NAME}` in a text value is replaced by the environment variable, `${NAME:-default}` by the default where it is not
  set or empty; `$${` stands for a literal `${`. A number or truth value may be written so too: `port: ${PORT:-8484}`.
- A key the schema does not know is an error. `freehold config check` shows every mistake with its line;
  `freehold config show` prints what is in force and where each value came from, secrets masked;
  `freehold config schema` prints the JSON Schema for editors.
- The file is YAML 1.2: `no` and `2027-01-31` are text. Duplicate keys, tags and merge keys are refused.
- While the gateway runs, a changed file is taken whole or not at all: with a mistake in it, the old one stays in force.

A small file:

```yaml
{example}```

The sections below are generated from `schema.py`, `schema_routing.py` and `schema_checks.py` in
`src/freehold/config/` by `make docs`.
"""


def reference() -> str:
    """Returns the page as Markdown."""
    parts = [_HEAD.replace("{example}", _yaml(EXAMPLE))]
    for kind, title in _sections():
        name = kind.cls.__name__
        parts.append(f"## {title}\n\n{describe.classes()[name]}\n")
        rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
        rows += [_row(name, field) for field in kind.fields]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _sections() -> list[tuple[StructType, str]]:
    """Returns every Struct once, breadth first, with the place where it first stands."""
    found: dict[str, tuple[StructType, str]] = {}
    queue: list[tuple[Type, str]] = [(schema_type(), "")]
    while queue:
        kind, place = queue.pop(0)
        for member in alternatives(kind):
            match member:
                case StructType() if member.cls.__name__ not in found:
                    found[member.cls.__name__] = (member, f"`{place}`" if place else "The whole file")
                    queue += [(f.type, f"{place}.{f.encode_name}".lstrip(".")) for f in member.fields]
                case DictType():
                    queue.append((member.value_type, f"{place}.NAME"))
                case ListType():
                    queue.append((member.item_type, f"{place}[]"))
    return list(found.values())


def _row(owner: str, field: Field) -> str:
    wanted = " or ".join(expected(k) for k in alternatives(field.type) if not isinstance(k, NoneType))
    cells = [f"`{field.encode_name}`", wanted, _default(field), describe.fields().get((owner, field.name), "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if field.default is NODEFAULT:
        made: Any = field.default_factory()
        return "as below" if isinstance(made, msgspec.Struct) else "none"
    return "" if field.default is None else f"`{msgspec.json.encode(field.default).decode()}`"


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100))


if __name__ == "__main__":
    sys.stdout.write(reference())
