"""`freehold up`: start the gateway and say how to use it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from freehold.config.schema import Key

LOCAL_KEY = "local"
"""Name of the key made at first start; its secret lies in FREEHOLD_HOME/local.key, owner-readable, for this CLI."""


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to use.")
@click.option("--host", help="Address to listen on; loopback unless told otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Gateway processes on the shared port.")
@click.option("--strict-egress", "strict", is_flag=True, help="Only one small process can leave, and it has the keys.")
@click.option("--air-gapped", "apart", is_flag=True, help="No call leaves this machine.")
@click.option("--no-witness", is_flag=True, help="Strict: without the kernel's counters.")
@click.option("--no-namespace", is_flag=True, help="Air-gapped: by refusal alone, without a namespace.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout when ready.")
@click.option("--inside", type=int, hidden=True)
def command(
    config_file: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    strict: bool,
    apart: bool,
    no_witness: bool,
    no_namespace: bool,
    as_json: bool,
    inside: int | None,
) -> None:
    """Start the gateway, its engines and its ledger; stop with Ctrl-C or SIGTERM."""
    from freehold.config.load import find
    from freehold.home import run_dir
    from freehold.serve.given import Given
    from freehold.serve.processes import Snapshotted, no_cores
    from freehold.serve.up import Up, announce, withdraw

    if strict and apart:
        raise click.UsageError("--strict-egress and --air-gapped exclude each other")
    no_cores()
    path = find(config_file)
    egress = "strict" if strict else "none" if apart else None
    wanted = {"host": host, "port": port, "workers": workers, "egress": egress}
    overrides = {name: value for name, value in wanted.items() if value is not None}
    given = Given.read(inside) if inside is not None else None
    reading = Path(given.reading) if given is not None and given.reading else None
    source = Snapshotted(path, run_dir() / "config.yaml", overrides, reading=reading)
    if given is None:
        mode = source.checked().config.server.egress
        _check_options(mode, no_witness=no_witness, no_namespace=no_namespace)
        if mode == "none" and no_namespace:
            _refuse_alone()
        elif mode != "open":
            sys.exit(_outside(path, overrides, as_json, witness=not no_witness))
    loaded = source.take()
    key = _key(loaded.config.keys)
    settings = loaded.config.server
    pid = given.pid if given is not None else os.getpid()

    def ready(url: str) -> None:
        announce(url, key, path, pid)
        if as_json:
            sys.stdout.write(msgspec.json.encode({"url": url, "key": key, "pid": pid}).decode() + "\n")
        else:
            sys.stdout.write(_welcome(url, key, str(path) if path else None))
        sys.stdout.flush()

    gateway = Up(
        loaded, source, host=settings.host, port=settings.port, workers=settings.workers, on_ready=ready, given=given
    )
    try:
        status = gateway.run()
    finally:
        withdraw()
    sys.exit(status)


def _check_options(mode: str, *, no_witness: bool, no_namespace: bool) -> None:
    if no_witness and mode != "strict":
        raise click.UsageError("--no-witness goes with --strict-egress (server.egress: strict)")
    if no_namespace and mode != "none":
        raise click.UsageError("--no-namespace goes with --air-gapped (server.egress: none)")


def _refuse_alone() -> None:
    """Air-gapped without a namespace: connections that lead elsewhere are refused by this program alone."""
    from freehold.call.transport.pool import EGRESS
    from freehold.serve.up import say

    os.environ[EGRESS] = "none"
    say("air-gapped without a namespace: this program refuses to call out, and nothing but itself holds it to that")


def _outside(path: Path | None, overrides: "dict[str, Any]", as_json: bool, *, witness: bool) -> int:
    """Runs the gateway in a namespace; returns the exit status."""
    from freehold.serve.outer import Outer

    options = [f"--{name}={overrides[name]}" for name in ("host", "port", "workers") if name in overrides]
    options += {"strict": ["--strict-egress"], "none": ["--air-gapped"]}.get(overrides.get("egress", ""), [])
    options += ["--config", str(path)] if path is not None else []
    options += ["--json"] if as_json else []

    def argv(descriptor: int) -> list[str]:
        return [sys.executable, "-m", "freehold", "up", *options, "--inside", str(descriptor)]

    return Outer(path, overrides, argv, witness=witness).run()


def _key(configured: "list[Key]") -> str | None:
    """Returns a key to show: the first readable one of the configuration, else the local one, made at first start."""
    from freehold.admit.keys import add_key, read_keys
    from freehold.config.schema import Key
    from freehold.home import home, keys_file, write_private

    for key in configured:
        if key.key:
            return key.key
    secret_file = home() / "local.key"
    names = {key.name for key in read_keys(keys_file())}
    if LOCAL_KEY in names:
        return secret_file.read_text().strip() if secret_file.exists() else None
    if names or configured:
        return None
    secret = add_key(keys_file(), Key(LOCAL_KEY))
    write_private(secret_file, secret.encode() + b"\n")
    return secret


def _welcome(url: str, key: str | None, config: str | None) -> str:
    shown = key or "YOUR-KEY"
    note = "" if key else "\n  (keys are kept hashed: use one you have, or make one with `freehold keys add NAME`)"
    return f"""Freehold answers at {url}

  base URL   {url}/v1
  key        {shown}{note}
  status     {url}/status   (any user name, the key as password)
  config     {config or "none: all defaults; freehold config schema shows what can be set"}

curl
  curl {url}/v1/chat/completions -H "Authorization: Bearer {shown}" -H "Content-Type: application/json" \\
    -d '{{"model": "own/banking77", "messages": [{{"role": "user", "content": "My card still has not arrived"}}]}}'

Python
  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{shown}")
  print(client.chat.completions.create(model="auto", messages=[{{"role": "user", "content": "Where is my refund?"}}]))

Claude Code
  export ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={shown}

Stop with Ctrl-C.
"""
