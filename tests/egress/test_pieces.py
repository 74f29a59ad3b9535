"""The record in pieces: nothing is lost on the way from one to the next, however it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apart import below, needs_namespace, network
from faking import fake_here
from hypothesis import given
from hypothesis import strategies as st
from running import KEY, Running, clean_environment, started

from freehold.egress.pieces import FULL, full, open_piece, pieces, record
from freehold.egress.records import Back, Records, RefusedLine

RUN = "20270101T000000-7"


def names(folder: Path) -> list[str]:
    return [path.name for path in pieces(folder, RUN)]


def back(number: int) -> Back:
    return Back(1, number, 0)


def test_the_order_is_that_of_numbers_and_other_runs_are_no_matter(tmp_path: Path) -> None:
    for name in (f"{RUN}.10.jsonl", f"{RUN}.2.jsonl", f"{RUN}.jsonl", f"{RUN}.json", f"{RUN}1.jsonl", f"{RUN}.x.jsonl",
                 f"{RUN}.02.jsonl", f"{RUN}.1.jsonl", f"{RUN}.0.jsonl"):  # fmt: skip
        (tmp_path / name).touch()
    assert names(tmp_path) == [f"{RUN}.jsonl", f"{RUN}.2.jsonl", f"{RUN}.10.jsonl"]


@given(st.lists(st.sampled_from(["write", "turn", "kill", "torn"]), max_size=30), st.integers(1, 200))
def test_whatever_happens_what_was_written_is_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], limit: int
) -> None:
    """`kill`: another process goes on, and knows of the files only. `torn`: it was killed in the middle of a line."""
    folder = tmp_path_factory.mktemp("record")
    records = Records(open_piece(folder, RUN, limit))
    expected = []
    try:
        for number, step in enumerate(steps):
            if step == "write":
                records.write(back(number))
                expected.append(number)
            elif step == "turn" and full(folder, RUN, limit):
                records.keep(back(number))
                expected.append(number)
                records.go_on(open_piece(folder, RUN, limit))
                assert not full(folder, RUN, limit)
            elif step in ("kill", "torn"):
                os.close(records._descriptor)
                if step == "torn":
                    with pieces(folder, RUN)[-1].open("ab") as file:
                        file.write(b'{"kind":"back","at":1,"nu')
                records = Records(open_piece(folder, RUN, limit))
    finally:
        os.close(records._descriptor)
    found = list(record(folder, RUN))
    assert None not in found
    assert [line.number for line in found if isinstance(line, Back)] == expected


def test_a_line_that_could_not_be_written_is_not_written_later(tmp_path: Path) -> None:
    """It tells of a request that was not sent, then."""
    records = Records(os.open("/dev/full", os.O_WRONLY))
    records.keep(back(1))
    with pytest.raises(OSError, match="space"):
        records.write(back(2))
    with pytest.raises(OSError, match="space"):
        records.go_on(open_piece(tmp_path, RUN))
    os.close(records._descriptor)
    records._descriptor = open_piece(tmp_path, RUN)
    records.write(back(3))
    os.close(records._descriptor)
    assert [line.number for line in record(tmp_path, RUN) if isinstance(line, Back)] == [1, 3]


CONFIG = """
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
providers:
  openai: {{base_url: "{url}/v1", api_key: "${{UPSTREAM_KEY}}"}}
keys:
  - {{name: ci, key: "{key}"}}
"""


def ask(gateway: Running) -> int:
    body = json.dumps({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.url + "/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def egress_of(gateway: Running) -> int:
    """The process outside of the namespace that has the socket open; nft may stand beside it for a moment."""
    outer = gateway.process.pid
    found = [pid for pid in below(outer) if network(pid) == network(outer)]
    return found[0] if len(found) == 1 else 0


def reconciled(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "audit", "reconcile", "--json", *arguments],
        capture_output=True,
        env=clean_environment(FREEHOLD_HOME=str(home)),
    )
    return done.returncode, json.loads(done.stdout or done.stderr)


@needs_namespace
def test_a_full_piece_and_a_killed_writer_while_it_runs(tmp_path: Path) -> None:
    """Somebody else's lines make the piece full, so that it need not be waited for."""
    config = tmp_path / "freehold.yaml"
    filler = msgspec.json.encode(RefusedLine(1, "egress_refused", "x" * 4000)) + b"\n"
    with fake_here() as fake:
        config.write_text(CONFIG.format(url=fake.url, key=KEY))
        with started(
            "up", "--config", str(config), "--strict-egress", "--no-witness", home=tmp_path / "home",
            UPSTREAM_KEY="sk-upstream-secret-000",
        ) as gateway:  # fmt: skip
            folder = tmp_path / "home" / "egress"
            (path,) = folder.glob("*.jsonl")
            run, answered = path.stem, 0

            def answers() -> bool:
                nonlocal answered
                status = ask(gateway)
                answered += status == 200
                return status == 200

            assert answers()
            with path.open("ab", buffering=0) as file:
                for _ in range(FULL // len(filler) // 16 + 1):
                    file.write(filler * 16)
            until(lambda: len(pieces(folder, run)) == 2)
            size = path.stat().st_size
            for _ in range(3):
                assert answers()
            assert path.stat().st_size == size
            second = pieces(folder, run)[1]
            assert second.read_bytes().count(b'"kind":"sent"') == 3
            before = egress_of(gateway)
            os.kill(gateway.process.pid, signal.SIGSTOP)  # so that it starts no other one before that is written
            os.kill(before, signal.SIGKILL)
            with second.open("ab") as file:
                file.write(b'{"kind":"sent","at":1')
            os.kill(gateway.process.pid, signal.SIGCONT)
            until(lambda: egress_of(gateway) not in (0, before))
            until(answers)
            assert len(pieces(folder, run)) == 3
            assert reconciled(tmp_path / "home")[0] == 0
            assert reconciled(tmp_path / "home", "--remove")[0] != 0, "it has not ended"
    status, result = reconciled(tmp_path / "home", "--remove")
    assert status == 0, result["differences"]
    assert result["sent"] >= answered >= 5
    assert result["damaged"] == 0
    assert result["refused"] > 1000
    assert not list(folder.glob("*.jsonl"))
    assert reconciled(tmp_path / "home")[0] != 0
    assert json.loads((folder / f"{run}.json").read_bytes())["removed"]
