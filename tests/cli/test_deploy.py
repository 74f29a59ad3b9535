"""`freehold deploy`: what is asked for is kept, checked against store and freehold.yaml, and told to the gateway."""

import json
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main
from freehold.config import deployed
from freehold.config.schema import Canary, Owned, OwnedAdapter
from freehold.own.weights.store import Source, Store, open_store
from freehold.own.weights.types import Artefact

pytestmark = pytest.mark.usefixtures("home")


def safetensors(path: Path, value: float) -> Path:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", value, value))
    return path


@pytest.fixture
def versions(home: Path, tmp_path: Path) -> Callable[[str, int], Store]:
    """Puts some versions of a model into the store."""

    def make(name: str, count: int) -> Store:
        store = open_store()
        (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
        for number in range(count):
            with store.hold("test") as hold:
                files = {
                    "model.safetensors": store.copy_in(
                        hold, safetensors(tmp_path / "model.safetensors", float(number))
                    ),
                    "config.json": store.copy_in(hold, tmp_path / "config.json"),
                }
                store.add(
                    name,
                    source=Source("hub", f"org/{name}", f"revision-{number}"),
                    artefacts=(Artefact("safetensors-F32", "safetensors", "F32", files),),
                )
        return store

    return make


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["deploy", *words])


def entries() -> list[Owned]:
    return deployed.read(deployed.path_in(os.environ))


def fails(*words: str) -> str:
    result = run(*words)
    assert result.exit_code in (1, 2), result.output
    return result.stderr


def test_a_model_of_the_store_is_deployed(versions: Callable[[str, int], Store]) -> None:
    versions("qwen", 1)
    result = run("qwen", "--load", "pinned", "--context", "2048", "--parallel", "2")
    assert result.exit_code == 0, result.output
    assert "own/qwen is deployed, version v1" in result.stderr
    assert "no gateway runs here" in result.stderr
    assert entries() == [Owned(name="qwen", load="pinned", context=2048, parallel=2)]
    run("own/qwen", "--context", "4096", "--engine", "llama-server")
    assert entries() == [Owned(name="qwen", load="pinned", context=4096, parallel=2, engine="llama-server")]


def test_another_version(versions: Callable[[str, int], Store]) -> None:
    versions("qwen", 3)
    run("qwen@v1")
    assert entries() == [Owned(name="qwen", version="v1")]
    assert "no_such" in fails("qwen@v9", "--json")
    assert "other" in fails("other")
    assert entries() == [Owned(name="qwen", version="v1")]


def test_a_canary_lives_until_it_is_judged(versions: Callable[[str, int], Store]) -> None:
    store = versions("qwen", 3)
    store.promote("qwen", "v2")
    result = run("qwen@v3", "--canary", "5", "--requests", "100", "--no-promote")
    assert "5 % of its requests go to v3, the others to v2" in result.stderr
    assert entries() == [Owned(name="qwen", canary=Canary("v3", 5.0, requests=100, promote=False))]
    assert "serves already" in fails("qwen@v2", "--canary", "5")
    assert "a canary is a version" in fails("qwen", "--canary", "5")
    assert "v3 is taken back" in run("qwen", "--rollback").stderr
    assert entries() == [Owned(name="qwen")]
    run("qwen@v3", "--canary", "5")
    assert "own/qwen is v3 now" in run("qwen", "--promote").stderr
    assert store.current("qwen") == "v3"
    assert entries() == [Owned(name="qwen")]
    assert "is v2 again, it was v3" in run("qwen", "--rollback").stderr
    assert store.current("qwen") == "v2"
    run("qwen", "--rollback")
    assert "no version before v1" in fails("qwen", "--rollback")


def test_a_version_that_was_written_down_stays_written_down(versions: Callable[[str, int], Store]) -> None:
    versions("qwen", 3)
    run("qwen@v1")
    run("qwen@v2", "--canary", "50")
    assert entries()[0].canary == Canary("v2", 50.0)
    run("qwen", "--promote")
    assert entries() == [Owned(name="qwen", version="v2")]
    run("qwen", "--rollback")
    assert entries() == [Owned(name="qwen", version="v1")]


def test_adapters_are_models(versions: Callable[[str, int], Store], tmp_path: Path) -> None:
    versions("base", 1)
    (tmp_path / "support.gguf").write_bytes(b"x")
    run("base", "--adapter", f"support={tmp_path / 'support.gguf'}")
    assert entries()[0].adapters == [OwnedAdapter("support", str(tmp_path / "support.gguf"))]
    assert "own/base is taken" in fails("base", "--adapter", f"base={tmp_path / 'support.gguf'}")
    assert "does not exist" in fails("base", "--adapter", "x=nowhere.gguf")
    assert "NAME=PATH" in fails("base", "--adapter", "x")


def test_freehold_yaml_may_name_what_was_deployed(versions: Callable[[str, int], Store], tmp_path: Path) -> None:
    versions("base", 1)
    (tmp_path / "support.gguf").write_bytes(b"x")
    run("base", "--adapter", f"support={tmp_path / 'support.gguf'}")
    (tmp_path / "freehold.yaml").write_text("models: {help: [own/support]}\n")
    for words in (["config", "check"], ["deploy", "base", "--context", "2048"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    (tmp_path / "freehold.yaml").write_text("models: {help: [own/suport]}\n")
    result = CliRunner().invoke(main, ["config", "check"])
    assert "no owned model suport" in result.stderr


def test_the_configuration_wins(versions: Callable[[str, int], Store], tmp_path: Path) -> None:
    store = versions("qwen", 2)
    (tmp_path / "freehold.yaml").write_text("own: [{name: qwen, canary: {version: v1}}]\n")
    store.promote("qwen", "v2")
    for words in (("qwen",), ("qwen@v1",), ("qwen@v1", "--canary", "5"), ("qwen", "--remove")):
        assert "change it there" in fails(*words)
    assert "change canary: there" in fails("qwen", "--rollback")
    assert "own/qwen is v1 now" in run("qwen", "--promote").stderr, "the canary that the file names"
    assert store.current("qwen") == "v1"
    assert entries() == []
    (tmp_path / "freehold.yaml").write_text("own: [{name: qwen, version: v1}]\n")
    assert "write version: v2 there" in fails("qwen@v2", "--promote")


def test_remove(versions: Callable[[str, int], Store]) -> None:
    versions("qwen", 1)
    run("qwen")
    assert "the weights stay" in run("qwen", "--remove").stderr
    assert entries() == []
    assert "was not deployed here" in fails("qwen", "--remove")


def test_the_list(versions: Callable[[str, int], Store], tmp_path: Path) -> None:
    assert "freehold pull" in run().stderr
    versions("qwen", 2)
    run("qwen@v1", "--canary", "5")
    (tmp_path / "freehold.yaml").write_text("own: [{path: /x/other.gguf, name: other}]\n")
    listed: list[dict[str, Any]] = json.loads(run("--json").stdout)
    assert [(row["name"], row["kept_in"]) for row in listed] == [("other", "freehold.yaml"), ("qwen", "deploy")]
    assert "v1 5 %" in run().stdout


@pytest.mark.parametrize(
    "words",
    [
        ("qwen", "--promote", "--remove"),
        ("qwen@v1", "--canary", "5", "--rollback"),
        ("qwen", "--remove", "--context", "5"),
        ("qwen", "--requests", "5"),
        ("qwen@",),
        ("@v3",),
        ("qwen@v1", "--canary", "0"),
        ("qwen@v1", "--canary", "101"),
        ("qwen", "--memory", "much"),
        ("qwen", "--load", "start", "--idle", "-1"),
        ("qwen@v1", "--rollback"),
        ("../../etc/passwd",),
    ],
)
def test_what_makes_no_sense_is_refused(versions: Callable[[str, int], Store], words: tuple[str, ...]) -> None:
    versions("qwen", 2)
    assert fails(*words)
    assert entries() == []


def test_a_running_gateway_is_told(
    versions: Callable[[str, int], Store], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions("qwen", 1)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": None, "pid": 4242}))
    result = run("qwen", "--json")
    assert json.loads(result.stdout)["gateway"] is True
    assert (4242, signal.SIGHUP) in told
