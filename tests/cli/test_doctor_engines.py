"""`freehold doctor` on the owned side: engines, GPUs, weights, the hub's address, memory; each fault with its fix."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import made_weights
import pytest

from freehold.cli import check_engines
from freehold.cli.site import Finding, Site
from freehold.config.load import loads
from freehold.own import memory
from freehold.own.engine import Gpu
from freehold.own.weights.store import Store, Version, open_store

Check = Callable[[Site], list[Finding]]
GIB = 1 << 30


@pytest.fixture(autouse=True)
def machine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program but those of a test, 8 GiB free, no GPU, and no variable of a hub."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(memory, "available", lambda: 8 * GIB)
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "OLLAMA_REGISTRY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(made_weights.gguf_bytes())
    return path


def faults(check: Check, config: str = "", site: Site | None = None) -> list[Finding]:
    if site is None:
        Path("freehold.yaml").write_text("box: false\n" + config)
        site = Site(Path("freehold.yaml"))
    found = check(site)
    for one in found:
        assert (one.verdict == "ok") == (one.fix is None), one
    return [one for one in found if one.verdict != "ok"]


def with_gpus(monkeypatch: pytest.MonkeyPatch, *cards: Gpu) -> None:
    monkeypatch.setattr("freehold.own.gpu.gpus", lambda timeout=5.0: cards)


# Engines


@pytest.mark.parametrize(
    ("engine", "verdict", "fix"),
    [("llama-server", "fail", "llama"), ("vllm", "fail", "vllm"), ("ollama", "warn", "if it does not run there")],
)
def test_every_engine_in_use_is_looked_for(engine: str, verdict: str, fix: str, tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, content in made_weights.checkpoint().items():
        (folder / name).write_bytes(content)
    path = {"vllm": f"path: {folder}, ", "llama-server": f"path: {model}, "}.get(engine, "")
    (found,) = faults(check_engines.engines, f"own: [{{name: x, {path}engine: {engine}}}]\n")
    assert found.verdict == verdict, found
    assert "own/x" in found.found
    assert fix in (found.fix or "")


def test_an_engine_that_only_the_store_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    made_weights.add(open_store())
    assert faults(check_engines.engines) == []
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else real(name))
    (found,) = faults(check_engines.engines)
    assert (found.fix, "own/tiny cannot run" in found.found) == ("pip install 'freehold[own]'", True)


def test_several_mistakes_are_all_told(model: Path) -> None:
    found = faults(check_engines.engines, f"own: [{{path: gone.gguf}}, {{path: {model}}}, {{name: unpulled}}]\n")
    assert [one.verdict for one in found] == ["fail", "fail"]
    assert "gone.gguf" in found[0].found
    assert "freehold pull ... --name unpulled" in (found[1].fix or "")


def test_a_gpu_that_is_asked_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = faults(check_engines.gpu, f"own: [{{path: {model}, gpu_layers: 99}}]\n")
    assert "install the driver; or gpu_layers: 0 for own/tiny" in (found.fix or "")
    assert faults(check_engines.gpu, f"own: [{{path: {model}}}]\n") == []
    with_gpus(monkeypatch, Gpu(0, "A card", 8 * GIB, 7 * GIB))
    assert faults(check_engines.gpu, f"own: [{{path: {model}, gpu_layers: 99}}]\n") == []


# Weights


def blob(store: Store, version: Version) -> Path:
    (file,) = version.artefacts[0].files.values()
    return store.blob(file.sha256)


def test_weights_that_are_whole() -> None:
    made_weights.add(open_store())
    assert faults(check_engines.weights) == []


def test_weights_that_were_changed_or_are_gone() -> None:
    store = open_store()
    path = blob(store, made_weights.add(store))
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"x")
    (found,) = faults(check_engines.weights)
    assert (found.verdict, "was changed" in found.found) == ("fail", True)
    assert "freehold weights verify tiny" in (found.fix or "")
    path.unlink()
    (found,) = faults(check_engines.weights)
    assert "is missing" in found.found


def test_a_damaged_record() -> None:
    store = open_store()
    made_weights.add(store)
    record = store.places.records / "tiny" / "v1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"artefacts": 7}))
    (found,) = faults(check_engines.weights)
    assert (found.verdict, "the record is damaged" in found.found) == ("fail", True)
    assert "freehold weights rm" in (found.fix or "")


# The hub


def test_the_hub_is_named_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert faults(check_engines.hub) == []
    monkeypatch.setenv("HF_ENDPOINT", "https://me:s3cr3t@mirror.example")
    (found,) = faults(check_engines.hub)
    assert "s3cr3t" not in f"{found.found} {found.fix}"
    monkeypatch.setenv("HF_ENDPOINT", "mirror")
    (found,) = faults(check_engines.hub)
    assert found.fix == "HF_ENDPOINT=https://huggingface.co"


def test_a_pull_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert faults(check_engines.hub) == []
    (found,) = faults(check_engines.hub, "own: [{pull: org/name}]\n")
    assert (found.verdict, "unset HF_HUB_OFFLINE" in (found.fix or "")) == ("warn", True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (found,) = faults(check_engines.hub, "own: [{pull: org/name}]\n")
    assert (found.verdict, found.fix) == ("fail", "pip install 'freehold[own]'")


# Memory


def test_more_memory_is_declared_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = faults(check_engines.memory, "engines: {memory: 20GiB}\n")
    assert found.fix == "engines: {memory: 8192MiB}, or free some"
    assert loads(f"{(found.fix or '').partition(', or')[0]}\n".encode(), {}).config.engines.memory == "8192MiB"
    with_gpus(monkeypatch, Gpu(0, "A card", 4 * GIB, 4 * GIB))
    (found,) = faults(check_engines.memory, "engines: {gpu_memory: 6GiB}\n")
    assert found.fix == "engines: {gpu_memory: 4096MiB}"


@pytest.mark.parametrize(("load", "verdict"), [("start", "fail"), ("demand", "warn")])
def test_a_model_that_needs_more_than_there_is(load: str, verdict: str, model: Path) -> None:
    entry = f"own: [{{path: {model}, memory: 9GiB, load: {load}}}]\n"
    (found,) = faults(check_engines.memory, entry)
    assert (found.verdict, "own/tiny needs about 9.0 GiB, 8.0 GiB are there" in found.found) == (verdict, True)
    (found,) = faults(check_engines.memory, f"engines: {{memory: 10MiB}}\nown: [{{path: {model}, load: {load}}}]\n")
    assert "weights fit" in (found.fix or "")


@pytest.mark.parametrize(("load", "verdict"), [("pinned", "fail"), ("start", "warn")])
def test_models_that_need_too_much_together(load: str, verdict: str, model: Path) -> None:
    entries = ", ".join(f"{{path: {model}, name: m{n}, memory: 5GiB, load: {load}}}" for n in (1, 2))
    (found,) = faults(check_engines.memory, f"own: [{entries}]\n")
    assert (found.verdict, "own/m1, own/m2" in found.found) == (verdict, True)
    assert "load: demand for some" in (found.fix or "")


def test_an_engine_that_refuses_a_model(model: Path) -> None:
    found = faults(check_engines.memory, f"own: [{{path: {model}, engine: command, command: [gone, '${{PORT}}']}}]\n")
    assert [(one.verdict, "gone" in one.found) for one in found] == [("fail", True)]
