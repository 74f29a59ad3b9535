"""freehold.yaml from disk to a checked Config, or every mistake in it at once.

The way: bytes -> tree.parse (YAML, places, variables) -> msgspec.convert (types) -> checks (rules between values).
A file is taken whole or not at all.
"""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.inspect import BoolType, FloatType, IntType

from freehold.config import checks, tree
from freehold.config.explain import explain, type_at
from freehold.config.problems import KeyPath, Problems, Sources, file_error
from freehold.config.schema import Config
from freehold.home import located

FILE_NAME = "freehold.yaml"

_NOT_TEXT = re.compile(r"true|false|-?[0-9]{1,15}(?:\.[0-9]+)?")


class Loaded(Struct, frozen=True):
    """A configuration in force. `version` is a short hash of its effective content, recorded with each request."""

    config: Config
    path: Path | None
    version: str
    sources: Sources


def find(path: Path | None, env: Mapping[str, str] | None = None) -> Path | None:
    """Returns the file to read: `path` if given, else ./freehold.yaml, else the one in FREEHOLD_HOME, else None."""
    if path is not None:
        return path
    beside = located(os.environ if env is None else env) / FILE_NAME
    return next((found for found in (Path(FILE_NAME), beside) if found.is_file()), None)


def _pulled(env: Mapping[str, str]) -> list[str]:
    """Returns the names of the store's models (own/weights/store.py): a folder each, its name quoted."""
    try:
        return [unquote(found.name) for found in (located(env) / "models" / "records").iterdir()]
    except OSError:
        return []


def load(
    path: Path | None,
    env: Mapping[str, str],
    *,
    providers: Collection[str] | None = None,
    pulled: Collection[str] = (),
) -> Loaded:
    """Returns the checked configuration of a file, or all defaults for None.

    `providers` are the names built in (`call.providers.rows()`); without them no name of a provider is judged. `pulled`
    are owned models that need no entry, besides those of the store.
    Raises ConfigErrors with every mistake found.
    """
    if path is None:
        return Loaded(Config(), None, version_of(Config()), Sources())
    return loads(_read(path), env, file=str(path), providers=providers, path=path, pulled={*_pulled(env), *pulled})


def loads(
    data: bytes,
    env: Mapping[str, str],
    *,
    file: str = FILE_NAME,
    providers: Collection[str] | None = None,
    path: Path | None = None,
    pulled: Collection[str] = (),
) -> Loaded:
    """Like `load`, from bytes; `file` is the name used in errors, `pulled` are the owned models of the store."""
    problems = Problems(Sources(file))
    value = tree.parse(data, file, env, problems)
    value = _typed_variables(_without_empty(value), problems.sources)
    partial = False
    try:
        config = msgspec.convert(value, Config)
    except msgspec.ValidationError:
        kept = explain(value, problems)
        partial = True
        try:
            config = msgspec.convert(kept, Config)
        except msgspec.ValidationError:
            problems.add((), "does not fit the schema", "freehold config schema prints it")
            config = Config()
        if not problems.errors:
            problems.add((), "does not fit the schema", "freehold config schema prints it")
    checks.check(config, problems, providers, pulled, partial=partial or bool(problems.errors))
    problems.done()
    return Loaded(config, path, version_of(config), problems.sources)


def version_of(config: Config) -> str:
    """Returns 12 hexadecimal digits that change when anything in the configuration does."""
    return hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()[:12]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(tree.MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        hint = "create it, or leave --config off for the defaults" if isinstance(error, FileNotFoundError) else None
        raise file_error(path, f"the file cannot be read: {reason}", hint=hint) from None


def _without_empty(value: Any) -> Any:
    """Reads a section with nothing in it, as `own:` or `openai:` alone in a line, as not given."""
    if not isinstance(value, dict):
        return value
    known = set(Config.__struct_fields__)
    value = {name: item for name, item in value.items() if item is not None or name not in known}
    if isinstance(providers := value.get("providers"), dict):
        value["providers"] = {name: {} if item is None else item for name, item in providers.items()}
    return value


def _typed_variables(value: Any, sources: Sources) -> Any:
    """Gives values like `port: ${PORT}` the number or truth value that the schema wants there."""
    for path in sources.variables:
        holder = _holder(value, path)
        text = holder[path[-1]] if path else None
        if not isinstance(text, str) or not _NOT_TEXT.fullmatch(text):
            continue
        kind = type_at(path)
        if isinstance(kind, BoolType) and text in ("true", "false"):
            holder[path[-1]] = text == "true"
        elif isinstance(kind, IntType | FloatType) and text not in ("true", "false"):
            holder[path[-1]] = float(text) if "." in text else int(text)
    return value


def _holder(value: Any, path: KeyPath) -> Any:
    for part in path[:-1]:
        value = value[part]
    return value
