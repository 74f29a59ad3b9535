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

    A key is shown once, when it is made, and kept only as a hash. It can be limited to some models and providers, to
    requests and tokens per minute, to a budget and to a last day.
    """


@command.command()
@click.argument("name")
@click.option("--models", metavar="A,B", help="Names the key may ask for; all when not given.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Requests a minute.")
@click.option("--tokens-per-minute", type=click.IntRange(1), metavar="N", help="Tokens a minute, in and out together.")
@click.option("--budget", metavar="$N/PERIOD", help="Most it may spend: $200/month, $30/week or $5/day.")
@click.option("--label", help="The least label of its requests, such as confidential.")
@click.option("--providers", metavar="A,B", help="Who may answer it (own: owned models); all when not given.")
@click.option("--environment", help="A name under environments in freehold.yaml.")
@click.option("--role", help="A name under roles in freehold.yaml.")
@click.option("--expires", metavar="DATE", help="Last day (2027-01-31) or moment (2027-01-31T18:00Z) of the key.")
@_json
def add(
    name: str,
    models: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    expires: str | None,
    as_json: bool,
    **rules: str | None,
) -> None:
    """Make a key called NAME and print its secret, once, on stdout."""
    from freehold.admit.keys import add_key
    from freehold.home import keys_file

    limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
    key = _checked(name, models, expires, {**limits, **rules})
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
        "budget",
        "label",
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


def _checked(name: str, models: str | None, expires: str | None, rules: dict[str, Any]) -> "Key":
    """Returns the key to add. Raises UsageError for what can never work, BadRequest for a name that is taken."""
    import msgspec

    from freehold.admit.keys import expiry
    from freehold.config.checks import parse_time
    from freehold.config.checks_labels import key_trouble
    from freehold.config.schema import Key
    from freehold.errors import BadRequest

    if expires is not None:
        if parse_time(expires) is None:
            raise click.BadParameter("write it like 2027-01-31 or 2027-01-31T18:00Z", param_hint="--expires")
        if expiry(expires) <= time.time():
            raise click.BadParameter(f"{expires} is past already", param_hint="--expires")
    allowed = _several(models, "--models", "model")
    providers = _several(rules.pop("providers", None), "--providers", "provider")
    given = {"name": name, "models": allowed, "providers": providers, "expires": expires, **rules}
    try:
        key = msgspec.convert(given, Key)
    except msgspec.ValidationError as error:
        wrong = next((f"--{field}" for field in given if f"$.{field}" in str(error) and field != "name"), "NAME")
        raise click.BadParameter("use letters, digits and . _ : / @ + - only", param_hint=wrong) from error
    loaded = _configuration()
    if loaded is not None and (trouble := key_trouble(loaded.config, key)) is not None:
        raise BadRequest(f"such a key could not be used: {trouble}", hint="freehold config show", code="key_unusable")
    if loaded is not None and any(other.name == name for other in loaded.config.keys):
        raise BadRequest(f"there is a key named {name!r} in {loaded.path} already", code="key_exists")
    return key


def _several(text: str | None, option: str, what: str) -> list[str] | None:
    """Returns the names in a list with commas; raises UsageError for a list of none."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise click.BadParameter(f"names at least one {what}, or is left out for all", param_hint=option)
    return names


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
        "budget": key.budget,
        "label": key.label,
        "providers": key.providers,
        "environment": key.environment,
        "role": key.role,
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
        row["budget"],
        row["label"],
        row["expires"],
        row["kept_in"],
    ]
