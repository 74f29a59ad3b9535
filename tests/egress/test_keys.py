"""Strict mode: no worker can read a provider's key, wherever it was written. Memory of other kinds is not looked at
here; that of the processes inside is in test_strict.py."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import spying
from apart import inside, needs_namespace
from faking import fake_here
from running import KEY, Running, clean_environment, started

from freehold.egress.scrub import PLACEHOLDER

LITERAL = "sk-written-in-the-file-0001"


def configured(url: str, folder: Path) -> str:
    command = json.dumps([sys.executable, spying.__file__, "${PORT}", str(folder)]).replace("${", "$${")
    return f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
providers:
  openai: {{base_url: "{url}/v1", api_key: "${{UPSTREAM_KEY}}", headers: {{X-Team-Token: "${{TEAM}}"}}}}
own:
  - {{name: spy, engine: command, command: {command}}}
keys:
  - {{name: ci, key: "${{CI_KEY}}"}}
"""


def ask(gateway: Running, model: str, words: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": words}]}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(gateway.url + "/v1/chat/completions", body, headers), timeout=60
    ) as answer:
        said: str = json.loads(answer.read())["choices"][0]["message"]["content"]
    return said


@needs_namespace
def test_nothing_inside_can_read_a_key(tmp_path: Path) -> None:
    """Canaries as the key, in a header, in a variable that nobody uses yet, and in a copy of the key under another
    name; someone inside with the workers' rights reads all there is to read."""
    key, team, later = (f"canary-{secrets.token_hex(12)}" for _ in range(3))
    config = tmp_path / "freehold.yaml"
    with fake_here() as fake:
        config.write_text(configured(fake.url, tmp_path))
        env = {"UPSTREAM_KEY": key, "TEAM": team, "LATER_API_KEY": later, "COPY": f"Bearer {key}", "CI_KEY": KEY}
        with started(
            "up", "--config", str(config), "--strict-egress", "--no-witness", home=tmp_path / "home", **env
        ) as gateway:
            assert ask(gateway, "openai/gpt-4o", "hi")
            assert fake.served.last is not None
            assert fake.served.last.headers[b"authorization"] == f"Bearer {key}".encode()
            assert fake.served.last.headers[b"x-team-token"] == team.encode()
            report = json.loads(ask(gateway, "own/spy", "look around"))
            assert report["found"] == []
            pids = inside(gateway.process.pid)
            assert report["read"]["environ"] >= len(pids) >= 4
            assert report["read"]["file"] >= 8
            outside = gateway.process.pid
            assert outside not in report["memories"]
            assert set(report["memories"]) >= set(pids)
            assert Path(f"/proc/{outside}/environ").read_bytes().count(b"canary-") == 4, (
                "it should be there to be found"
            )
            environs = [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]
            assert not any(b"canary-" in one for one in environs)
            worker = dict(one.partition(b"=")[::2] for one in max(environs, key=len).split(b"\0"))
            shown = {name: worker[name.encode()].decode() for name in env}
            assert shown == dict.fromkeys(env, PLACEHOLDER) | {"CI_KEY": KEY}


@needs_namespace
def test_the_spy_would_find_what_is_there(tmp_path: Path) -> None:
    """The same look without strict mode: it finds the key in the environment of whoever has it, and in a file."""
    key = f"canary-{secrets.token_hex(12)}"
    config = tmp_path / "freehold.yaml"
    config.write_text(configured("http://127.0.0.1:9", tmp_path) + f"# {key}\n")
    with started(
        "up", "--config", str(config), home=tmp_path / "home", UPSTREAM_KEY=key, TEAM="team-000", CI_KEY=KEY
    ) as gateway:
        found = json.loads(ask(gateway, "own/spy", "look around"))["found"]
    assert f"file {config}" in found
    assert f"environ /proc/{gateway.process.pid}/environ" in found


@needs_namespace
def test_a_variable_that_becomes_a_key_later(tmp_path: Path) -> None:
    """Workers have had it: the configuration that would make it a key is not taken over. One whose name says what is in
    it was never shown to them, and is."""
    config = tmp_path / "freehold.yaml"
    with fake_here() as fake:
        text = configured(fake.url, tmp_path)
        config.write_text(text)
        env = {"UPSTREAM_KEY": "sk-first-000001", "TEAM": "team-000", "CI_KEY": KEY}
        more = {"SHOWN": "sk-shown-000002", "NEXT_API_KEY": "sk-next-000003"}
        with started(
            "up", "--config", str(config), "--strict-egress", "--no-witness", home=tmp_path / "home", **env, **more
        ) as gateway:

            def reloaded(name: str) -> None:
                config.write_text(text.replace("UPSTREAM_KEY", name))
                os.kill(gateway.process.pid, signal.SIGHUP)

            def key() -> bytes:
                assert ask(gateway, "openai/gpt-4o", "hi")
                assert fake.served.last is not None
                return fake.served.last.headers[b"authorization"]

            reloaded("SHOWN")
            until_said(tmp_path, "$SHOWN is a provider's key now, and workers have had it")
            assert key() == b"Bearer sk-first-000001"
            reloaded("NEXT_API_KEY")
            end = time.monotonic() + 20
            while key() != b"Bearer sk-next-000003":
                assert time.monotonic() < end
            for pid in inside(gateway.process.pid):
                assert b"sk-next" not in Path(f"/proc/{pid}/environ").read_bytes()


def until_said(folder: Path, words: str) -> None:
    (log,) = folder.glob("up-*.log")
    end = time.monotonic() + 20
    while words not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def refused(folder: Path, text: str, *arguments: str, command: str = "up", **env: str) -> str:
    path = folder / "freehold.yaml"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "freehold", *command.split(), "--config", str(path), *arguments],
        capture_output=True, timeout=60, env=clean_environment(FREEHOLD_HOME=str(folder / "home"), **env),
    )  # fmt: skip
    assert done.returncode != 0
    said = (done.stdout + done.stderr).decode()
    assert LITERAL not in said
    return said


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f'providers:\n  openai: {{api_key: "{LITERAL}"}}\n', "freehold.yaml:2:21: providers.openai.api_key"),
        (
            f'providers:\n  house: {{base_url: "http://h/v1", headers: {{X-Api-Token: "{LITERAL}"}}}}\n',
            "freehold.yaml:2:59: providers.house.headers.X-Api-Token",
        ),
        (f"providers:\n  openai: {{}}\n# was {LITERAL}\n", "freehold.yaml:3: the value of $OPENAI_API_KEY"),
        (
            f'providers:\n  openai: {{api_key: "${{MINE}}"}}\n# {LITERAL}\n',
            "freehold.yaml:3: the value of providers.openai.api_key",
        ),
        (f'providers:\n  openai: {{api_key: "${{NONE:-{LITERAL}}}"}}\n', "providers.openai.api_key"),
    ],
)
def test_a_key_in_the_file_is_refused(tmp_path: Path, text: str, where: str) -> None:
    said = refused(tmp_path, text, "--strict-egress", "--no-witness", OPENAI_API_KEY=LITERAL, MINE=LITERAL)
    assert where in said
    assert "workers can read" in said
    assert "${VARIABLE}" in said
    assert not (tmp_path / "home" / "run" / "config.yaml").exists()


def test_config_check_says_so_where_the_file_says_strict(tmp_path: Path) -> None:
    text = f'server: {{egress: strict}}\nproviders:\n  openai: {{api_key: "{LITERAL}"}}\n  house: {{api_key: "abc"}}\n'
    said = refused(tmp_path, text, command="config check")
    assert "freehold.yaml:3:21: providers.openai.api_key: is written in this file" in said
    assert "freehold.yaml:4:20: providers.house.api_key: is written in this file" in said


@needs_namespace
def test_a_reload_that_writes_a_key_into_the_file(tmp_path: Path) -> None:
    config = tmp_path / "freehold.yaml"
    text = configured("http://127.0.0.1:9", tmp_path)
    config.write_text(text)
    with started(
        "up", "--config", str(config), "--strict-egress", "--no-witness", home=tmp_path / "home",
        UPSTREAM_KEY="sk-first-000001", TEAM="team-000", CI_KEY=KEY,
    ) as gateway:  # fmt: skip
        config.write_text(text.replace("${UPSTREAM_KEY}", LITERAL))
        os.kill(gateway.process.pid, signal.SIGHUP)
        until_said(tmp_path, "the configuration was not reloaded")
        until_said(tmp_path, "workers can read")
        for name in ("config.yaml", "config.inside.yaml"):
            assert LITERAL not in (gateway.home / "run" / name).read_text()
