"""`freehold keys`: the keys that clients of this gateway carry.

Keys made here live in FREEHOLD_HOME/keys.json as hashes; a running gateway takes a change over within a second. Keys
of freehold.yaml are listed too, and are changed there.
"""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.config.load import Loaded
    from freehold.config.schema import Key

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Make, list and remove keys for clients.

    A key is shown once, when it is made, and kept only as a hash. It can be limited to some models, to requests and
    tokens per minute, and to a last day.
    """


@command.command()
@click.argument("name")
@click.option("--models", metavar="A,B", help="Names the key may ask for; all when not given.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Requests a minute.")
@click.option("--tokens-per-minute", type=click.IntRange(1), metavar="N", help="Tokens a minute, in and out together.")
@click.option("--expires", metavar="DATE", help="Last day (2027-01-31) or moment (2027-01-31T18:00Z) of the key.")
@_json
def add(
    name: str,
    models: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key called NAME and print its secret, once, on stdout."""
    from freehold.admit.keys import add_key
    from freehold.home import keys_file

    key = _checked(name, models, requests_per_minute, tokens_per_minute, expires)
    secret = add_key(keys_file(), key)
    if as_json:
        output.emit({**_row(key, "keys.json"), "key": secret})
    else:
        sys.stdout.write(secret + "\n")
        sys.stdout.flush()
        output.say(f"this is the only time the secret of {name!r} is shown")


@command.command("list")
@_json
def list_(as_json: bool) -> None:
    """List the names and limits of all keys; secrets are kept nowhere."""
    from freehold.admit.keys import read_keys
    from freehold.home import keys_file

    loaded = _configuration()
    rows = [_row(key, "keys.json") for key in read_keys(keys_file())]
    rows += [_row(key, "freehold.yaml") for key in (loaded.config.keys if loaded else [])]
    if as_json:
        output.emit(rows)
        return
    columns: list[output.Column | str] = [
        "name",
        "models",
        output.Column("requests/min", right=True),
        output.Column("tokens/min", right=True),
        "expires",
        "kept in",
    ]
    output.table(columns, [_shown(row) for row in rows])
    if not rows:
        output.hint("freehold keys add NAME makes one")


@command.command()
@click.argument("name")
@_json
def remove(name: str, as_json: bool) -> None:
    """Remove the key called NAME; a running gateway refuses it within a second."""
    from freehold.admit.keys import read_keys, remove_key
    from freehold.errors import BadRequest
    from freehold.home import keys_file

    path = keys_file()
    if all(key.name != name for key in read_keys(path)):
        loaded = _configuration()
        if loaded and any(key.name == name for key in loaded.config.keys):
            raise BadRequest(f"the key {name!r} is part of {loaded.path}", hint="take it out of keys there")
    remove_key(path, name)
    if as_json:
        output.emit({"removed": name})
    else:
        output.say(f"removed {name!r}")


def _checked(name: str, models: str | None, requests: int | None, tokens: int | None, expires: str | None) -> "Key":
    """Returns the key to add. Raises UsageError for what can never work, BadRequest for a name that is taken."""
    import msgspec

    from freehold.admit.keys import expiry
    from freehold.config.checks import parse_time
    from freehold.config.schema import Key
    from freehold.errors import BadRequest

    if expires is not None:
        if parse_time(expires) is None:
            raise click.BadParameter("write it like 2027-01-31 or 2027-01-31T18:00Z", param_hint="--expires")
        if expiry(expires) <= time.time():
            raise click.BadParameter(f"{expires} is past already", param_hint="--expires")
    allowed = [model.strip() for model in models.split(",") if model.strip()] if models is not None else None
    if allowed == []:
        raise click.BadParameter("names at least one model, or is left out for all", param_hint="--models")
    given = {
        "name": name,
        "models": allowed,
        "requests_per_minute": requests,
        "tokens_per_minute": tokens,
        "expires": expires,
    }
    try:
        key = msgspec.convert(given, Key)
    except msgspec.ValidationError as error:
        wrong = "--models" if "models" in str(error) else "NAME"
        raise click.BadParameter("use letters, digits and . _ : / @ + - only", param_hint=wrong) from error
    loaded = _configuration()
    if loaded is not None and any(other.name == name for other in loaded.config.keys):
        raise BadRequest(f"there is a key named {name!r} in {loaded.path} already", code="key_exists")
    return key


def _configuration() -> "Loaded | None":
    """Returns the configuration, or None with a warning when it has mistakes: keys can be managed all the same."""
    from freehold.call.providers import load_config
    from freehold.cli.client import configuration
    from freehold.errors import ConfigError

    try:
        return load_config(configuration(None), os.environ)
    except ConfigError as error:
        output.warn(f"the keys of freehold.yaml are not considered: {error.message}")
        output.hint("freehold config check")
        return None


def _row(key: "Key", kept: str) -> dict[str, Any]:
    return {
        "name": key.name,
        "models": key.models,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "expires": key.expires,
        "kept_in": kept,
    }


def _shown(row: dict[str, Any]) -> list[Any]:
    models = ", ".join(row["models"]) if row["models"] is not None else "all"
    return [
        row["name"],
        models,
        row["requests_per_minute"],
        row["tokens_per_minute"],
        row["expires"],
        row["kept_in"],
    ]
