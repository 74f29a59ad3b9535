"""A guard model and a finder of names that an engine of ours runs: the model in the box, which is neither.

So what it says is no verdict, and counts as none; that it was asked stands in the ledger.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from renting import Answer
from renting import ask as post
from running import KEY, Running, started

from freehold.own.catalog import box_file

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")

CONFIG = f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
keys: [{{name: ci, key: "{KEY}"}}]
own: [{{path: judge.gguf}}, {{path: model.gguf}}]
checks:
  guard: {{model: own/judge, family: qwen3guard, seconds: 30}}
  names: {{model: own/model, seconds: 30}}
  request: {{guard_error: ACTION, harm: block}}
"""


@pytest.fixture(scope="module", params=["block", "label"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    folder = tmp_path_factory.mktemp("owned")
    box = box_file()
    assert box is not None
    for name in ("judge", "model"):
        shutil.copy(box, folder / f"{name}.gguf")
    (folder / "freehold.yaml").write_text(CONFIG.replace("ACTION", request.param))
    with started("up", "--config", str(folder / "freehold.yaml"), home=folder / "home") as running:
        yield running, request.param


def say(running: Running, text: str) -> Answer:
    body = {"model": "own/model", "max_tokens": 3, "messages": [{"role": "user", "content": text}]}
    return post(running.url, "/v1/chat/completions", body)


def reasons(home: Path) -> set[str]:
    with sqlite3.connect(home / "freehold.db") as ledger:
        return {row[0] for row in ledger.execute("SELECT reason FROM ledger WHERE outcome = 'ok'")}


def test_what_is_no_verdict_counts_as_none(running: tuple[Running, str]) -> None:
    gateway, action = running
    answer = say(gateway, "where is my card, asks Ottilie Brandvold")
    if action == "block":
        assert answer.status == 400
        assert "guard_error" in json.dumps(answer.json)
        return
    assert answer.status == 200
    assert "guard_error=label" in answer.headers["x-freehold-checks"]
    end = time.monotonic() + 20
    while not {"guard", "names"} <= reasons(gateway.home) and time.monotonic() < end:
        time.sleep(0.05)
    assert {"guard", "names"} <= reasons(gateway.home)
