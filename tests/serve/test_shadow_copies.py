"""Shadow copies through a running gateway: another owned model gets the requests, the ledger gets what came of them."""

import json
import shutil
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest
from running import KEY, Running, started

from freehold.own.catalog import box_file

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")

CONFIG = f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
keys: [{{name: ci, key: "{KEY}"}}]
own:
  - {{path: present.gguf, shadow: {{to: own/candidate}}}}
  - {{path: candidate.gguf}}
"""


def ask(running: Running, stream: bool) -> str:
    body = {
        "model": "own/present", "max_tokens": 3, "stream": stream, "messages": [{"role": "user", "content": "my card"}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{running.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
        return str(answer.headers["x-freehold-deployment"])


def copies(home: Path) -> int:
    with sqlite3.connect(home / "freehold.db") as ledger:
        rows = ledger.execute(
            "select count(*) from calls join names on names.id = reason where name = 'shadow of own/present'"
        )
        return int(rows.fetchone()[0])


def test_copies_are_answered_by_the_other_model_and_kept_apart(tmp_path: Path) -> None:
    box = box_file()
    assert box is not None
    for name in ("present", "candidate"):
        shutil.copy(box, tmp_path / f"{name}.gguf")
    (tmp_path / "freehold.yaml").write_text(CONFIG)
    home = tmp_path / "home"
    with started("up", "--config", str(tmp_path / "freehold.yaml"), home=home) as running:
        for stream in (False, True, False):
            before = copies(home)
            assert ask(running, stream) == "own/present"
            end = time.monotonic() + 20
            while copies(home) == before and time.monotonic() < end:
                time.sleep(0.05)
            assert copies(home) == before + 1
    leaves = [json.loads(line) for path in home.glob("receipts/log-*") for line in path.read_text().splitlines()]
    receipts = [leaf for leaf in leaves if leaf["kind"] == "call"]
    assert sorted(leaf["deployment"] for leaf in receipts) == ["own/candidate"] * 3 + ["own/present"] * 3
    assert {(leaf["label"], leaf["clearance"], leaf["owned"]) for leaf in receipts} == {
        ("internal", "everything", True)
    }
    assert sorted(leaf["seq"] for leaf in receipts) == [1, 2, 3, 4, 5, 6]
