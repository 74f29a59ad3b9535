"""A fake provider and a running gateway, as processes of their own on loopback, for any test that needs them."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

KEY = "fh-0123456789abcdef"
_API_KEY = re.compile(r'("?\bapi_key"?: )"?([^"$,}\s]+)"?')
SHARED = Path(__file__).parents[3] / "shared"


class Running(NamedTuple):
    """A started process that has said it is ready."""

    url: str
    process: "subprocess.Popen[bytes]"
    home: Path

    def get(self, path: str, **headers: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
            return json.loads(answer.read())


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without anything that would offer real providers or proxies."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**keep, **extra}


@contextmanager
def started(*arguments: str, home: Path, **env: str) -> Iterator[Running]:
    """Runs `freehold ARGUMENTS --json` until it is ready; ends it with SIGTERM and expects 0. `freehold up` gets what
    FREEHOLD_TEST_UP holds besides, so that any of these tests can be run in another mode."""
    if arguments[0] == "up":
        more = tuple(os.environ.get("FREEHOLD_TEST_UP", "").split())
        if "--strict-egress" in more and "--config" in arguments:
            env = _keys_out_of(Path(arguments[arguments.index("--config") + 1])) | env
        arguments += more
    log = (home.parent / f"{arguments[0]}-{os.urandom(3).hex()}.log").open("w+b")
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=log,
        env=clean_environment(FREEHOLD_HOME=str(home), **env),
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(10)
            log.seek(0)
            raise AssertionError(f"freehold {' '.join(arguments)} did not start:\n{log.read().decode()}")
        yield Running(json.loads(line)["url"], process, home)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        process.stdout.close()
        log.seek(0)
        said = log.read().decode()
        log.close()
    assert status == 0, said
    assert "internal error" not in said, said
    assert "Traceback" not in said, said


def _keys_out_of(config: Path) -> dict[str, str]:
    """Writes the keys of providers in a file as variables, as strict mode wants them; returns those."""
    found: dict[str, str] = {}

    def variable(match: re.Match[str]) -> str:
        name = f"TAKEN_OUT_{len(found)}_KEY"
        found[name] = match[2]
        return f'{match[1]}"${{{name}}}"'

    config.write_text(_API_KEY.sub(variable, config.read_text()))
    return found


def config_for(fake_url: str, extra: str = "") -> str:
    return f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
timeouts: {{connect: 2, first_byte: 10, idle: 10, total: 30}}
providers:
  openai:    {{base_url: "{fake_url}/v1", api_key: "${{UPSTREAM_KEY}}"}}
  anthropic: {{base_url: "{fake_url}", api_key: "${{UPSTREAM_KEY}}"}}
  gemini:    {{base_url: "{fake_url}", api_key: "${{UPSTREAM_KEY}}"}}
keys:
  - {{name: ci, key: "{KEY}"}}
{extra}
"""


@contextmanager
def gateway_for(folder: Path, fake_url: str, extra: str = "", *arguments: str) -> Iterator[Running]:
    """A gateway whose three providers are all the fake."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "freehold.yaml"
    config.write_text(config_for(fake_url, extra))
    with started(
        "up", "--config", str(config), *arguments, home=folder / "home", UPSTREAM_KEY="sk-upstream-secret-000"
    ) as running:
        yield running
