"""`freehold up`: start the gateway and say how to use it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
@click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout when ready.")
def command(config_file: Path | None, host: str | None, port: int | None, workers: int | None, as_json: bool) -> None:
    """Start the gateway, its engines and its ledger; stop with Ctrl-C or SIGTERM."""
    from freehold.config.load import find
    from freehold.home import run_dir
    from freehold.serve.processes import Snapshotted
    from freehold.serve.up import Up, announce, withdraw

    path = find(config_file)
    overrides = {"host": host, "port": port, "workers": workers}
    source = Snapshotted(path, run_dir() / "config.yaml", {k: v for k, v in overrides.items() if v is not None})
    loaded = source.take()
    key = _key(loaded.config.keys)
    settings = loaded.config.server

    def ready(url: str) -> None:
        announce(url, key, path)
        if as_json:
            sys.stdout.write(msgspec.json.encode({"url": url, "key": key, "pid": os.getpid()}).decode() + "\n")
        else:
            sys.stdout.write(_welcome(url, key, str(path) if path else None))
        sys.stdout.flush()

    gateway = Up(loaded, source, host=settings.host, port=settings.port, workers=settings.workers, on_ready=ready)
    try:
        status = gateway.run()
    finally:
        withdraw()
    sys.exit(status)


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
