"""`freehold config`: check the file, show what is in force, print the schema.

Results go to stdout, mistakes and hints to stderr; exit code 1 when the file has a mistake.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from freehold.cli.output import emit, fail, say, warn
from freehold.config.load import Loaded, find
from freehold.config.problems import ConfigErrors
from freehold.errors import ConfigError

_config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="The file; default: freehold.yaml here or in FREEHOLD_HOME.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("config")
def command() -> None:
    """Check and show the configuration."""


@command.command()
@_config_option
@_json_option
def check(file: Path | None, as_json: bool) -> None:
    """Check the file and show every mistake with its place.

    Exits 0 when the file is good and 1 when it is not. With --json, the mistakes are printed as a list, empty for a
    good file. Terms of providers that have expired, or will soon, are warned of on stderr.
    """
    path = find(file)
    from freehold.serve.rehearsal import rehearse

    try:
        loaded = _load(path)
        rehearse(loaded)
    except ConfigError as errors:
        if as_json:
            emit([_as_json(error) for error in getattr(errors, "errors", [errors])])
        fail(errors)
        sys.exit(1)
    for line in _ageing(loaded):
        warn(line)
    if as_json:
        emit([])
    elif loaded.path is None:
        say("no configuration file: the defaults are in force")
    else:
        say(f"{loaded.path} is good (version {loaded.version})")


@command.command()
@_config_option
@_json_option
def show(file: Path | None, as_json: bool) -> None:
    """Show the values in force, secrets masked, and where each came from."""
    from freehold.config.show import settings

    try:
        loaded = _load(find(file))
    except ConfigErrors as errors:
        fail(errors, as_json=as_json)
        sys.exit(1)
    rows = [*((s.key, s.value, s.origin) for s in settings(loaded)), *_from_environment(loaded)]
    if as_json:
        listed = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
        emit({"path": loaded.path, "version": loaded.version, "settings": listed})
        return
    lines = [
        (f"{key}: {value if isinstance(value, str) else json.dumps(value)}", origin) for key, value, origin in rows
    ]
    width = min(max(len(line) for line, _ in lines), 72)
    for line, origin in lines:
        click.echo(f"{line.ljust(width)}  # {origin}")


@command.command()
def schema() -> None:
    """Print the JSON Schema of freehold.yaml."""
    from freehold.config.schema_json import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _load(path: Path | None) -> Loaded:
    from freehold.call.providers import load_config

    return load_config(path, os.environ)


def _ageing(loaded: Loaded) -> list[str]:
    """Returns a line for each row of providers' terms that is in use here and has expired, or will soon."""
    from freehold.call.providers import resolve
    from freehold.cli.check_gateway import TERMS_FIX, terms_in_use
    from freehold.labels import rules
    from freehold.labels.policies import ageing

    held = terms_in_use(loaded.config, resolve(loaded.config, os.environ))
    return [f"{line} ({TERMS_FIX})" for line in ageing(held, rules.today())]


def _from_environment(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Returns what the environment adds where the file is silent, as settings."""
    from freehold.call.providers import resolve

    rows: list[tuple[str, Any, str]] = []
    for name, endpoint in resolve(loaded.config, os.environ).items():
        if endpoint.unavailable is None and (endpoint.url_from or not endpoint.configured):
            rows.append((f"providers.{name}.base_url", endpoint.base_url, _origin(endpoint.url_from)))
        if endpoint.key_from and endpoint.unavailable is None:
            rows.append((f"providers.{name}.api_key", f"${{{endpoint.key_from}}}", _origin(endpoint.key_from)))
    return rows


def _origin(variable: str | None) -> str:
    return f"environment: {variable}" if variable else "built in"


def _as_json(error: ConfigError) -> dict[str, Any]:
    file, line, column = error.where.rsplit(":", 2)
    return {
        "file": file,
        "line": int(line),
        "column": int(column),
        "key": error.key,
        "message": error.message,
        "hint": error.hint,
    }
