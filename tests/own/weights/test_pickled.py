"""Pickles: refused with the exact override; with it made into safetensors by a child that runs no code of theirs."""

import hashlib
import importlib.util
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_files import config
from pulling import Puller, hub_for

from freehold.errors import EngineError
from freehold.fake.hub import Fault, HubServer
from freehold.own.parity.gate import root_of
from freehold.own.weights import pickled, unpickle
from freehold.own.weights.choose import Listed, pick
from freehold.own.weights.safetensors import read_header
from freehold.own.weights.unpickle import Pickled, Task, Told

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")

NAME = "acme/pickled"


class Evil:
    """Runs a command wherever it is unpickled the usual way."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_for(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "models")


def saved(value: Any, path: Path, **options: Any) -> bytes:
    torch.save(value, path, **options)
    return path.read_bytes()


def tensors(seed: int = 0) -> dict[str, Any]:
    make = torch.Generator().manual_seed(seed)
    return {
        f"a{seed}": torch.randn(4, 6, generator=make).to(torch.bfloat16),
        f"b{seed}": torch.randn(3, 5, generator=make).t(),
        f"c{seed}": torch.tensor(7),
        f"d{seed}": torch.empty(0, 4),
        f"e{seed}": torch.tensor([True, False]),
    }


def task(path: Path, room: Path, **more: Any) -> Task:
    size = path.stat().st_size
    limits = {"memory": 4 << 30, "seconds": 120, "disk": 2 * size + (1 << 20)} | more
    return Task([Pickled(path.name, str(path), str(room / "out.safetensors"))], "", **limits)


def read_back(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(path))


async def refused(puller: Puller, reference: str, **more: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await puller(reference, **more)
    return caught.value


def contents(puller: Puller) -> set[str]:
    folder = puller.store.places.blobs
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


async def test_without_the_override_they_are_refused_with_what_to_write(hub: HubServer, puller: Puller) -> None:
    hub.add(NAME, {"config.json": config(), "pytorch_model.bin": b"PK"})
    error = await refused(puller, NAME)
    assert error.code == "pickle_refused"
    assert "a program that runs when it is read" in error.message
    assert f"freehold pull {NAME} --pickles" in (error.hint or "")
    assert f"`pickles: true` beside `pull: {NAME}` under own: in freehold.yaml" in (error.hint or "")
    assert not [seen for seen in hub.seen if seen.storage]


async def test_a_pickle_becomes_safetensors_and_serves(
    hub: HubServer, puller: Puller, tiny_repo: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed: pip install 'freehold[own]'")
    folder = tiny_repo("llama3")
    weights = read_back(folder / "model.safetensors")
    bin_ = saved(weights, tmp_path / "x.bin")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".safetensors"}
    hub.add(NAME, {**files, "pytorch_model.bin": bin_, "training_args.bin": b"PK", "optimizer.pt": b"PK"})
    version = await puller(NAME, pickles=True)
    original, converted = version.artefacts
    assert (original.format, original.made, original.verdict) == ("safetensors", "converted", "original")
    assert original.evidence is not None
    assert original.evidence["pickles"] == {"pytorch_model.bin": hashlib.sha256(bin_).hexdigest()}
    assert not [name for one in version.artefacts for name in one.files if name.endswith((".bin", ".pt"))]
    (tmp_path / "m.safetensors").write_bytes(puller.content(version, "model.safetensors"))
    made = read_back(tmp_path / "m.safetensors")
    assert made.keys() == weights.keys()
    assert all(torch.equal(made[name], weights[name]) for name in weights)
    assert (converted.format, converted.of) == ("gguf", original.id)
    assert root_of(version, converted) == original, "what the parity gate compares with"
    assert puller.store.choose(version) == converted
    assert hashlib.sha256(bin_).hexdigest() not in contents(puller)
    hub.seen.clear()
    assert await puller(NAME, pickles=True) == version
    assert not [seen for seen in hub.seen if seen.storage]


async def test_shards_with_their_index(hub: HubServer, puller: Puller, tmp_path: Path) -> None:
    shards = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    files = {name: saved(tensors(n), tmp_path / name) for n, name in enumerate(shards)}
    places = {name: shard for n, shard in enumerate(shards) for name in tensors(n)}
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    hub.add(NAME, {**files, "config.json": config(), "pytorch_model.bin.index.json": index})
    (original,) = (await puller(NAME, pickles=True)).artefacts
    assert sorted(name for name in original.files if "safetensors" in name) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    hub.add(
        "acme/wrong", {**files, "config.json": config(), "pytorch_model.bin.index.json": index.replace(b"a0", b"zz")}
    )
    error = await refused(puller, "acme/wrong", pickles=True)
    assert (error.code, "where the index has it" in error.message) == ("bad_weights", True)


async def test_a_folder_with_one_checkpoint_of_a_training_program(puller: Puller, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_bytes(config())
    saved({"model": tensors(), "step": 7, "args": {"lr": 0.1}}, folder / "last.pt")
    assert "--pickles" in ((await refused(puller, str(folder))).hint or "")
    (original,) = (await puller(str(folder), pickles=True)).artefacts
    assert "model.safetensors" in original.files
    saved(tensors(), folder / "other.pth")
    assert (await refused(puller, str(folder), pickles=True, name="more")).code == "ambiguous_weights"


async def test_code_in_a_pickle_never_runs_whatever_is_allowed(hub: HubServer, puller: Puller, tmp_path: Path) -> None:
    proof = tmp_path / "it-ran"
    bad = saved(tensors() | {"z": Evil(proof)}, tmp_path / "x.bin")
    pickle.loads(pickle.dumps(Evil(proof)))
    assert proof.exists(), "the bait does not work"
    proof.unlink()
    hub.add(NAME, {"config.json": config(), "pytorch_model.bin": bad})
    error = await refused(puller, NAME, pickles=True, remote_code=True)
    assert error.code == "pickle_refused"
    assert f"pytorch_model.bin names {os.system.__module__}.system, which is code" in error.message
    assert "no option allows this" in (error.hint or "")
    assert not proof.exists()
    assert puller.store.names() == []
    assert hashlib.sha256(bad).hexdigest() not in contents(puller)


async def test_an_interrupted_download_goes_on(hub: HubServer, puller: Puller, tmp_path: Path) -> None:
    content = saved({"a": torch.randn(200, 200)}, tmp_path / "x.bin")
    hub.add(NAME, {"config.json": config(), "pytorch_model.bin": content})
    hub.faults += [Fault("cut", path="*.bin", after=50_000), Fault("status", path="*.bin", times=10)]
    await refused(puller, NAME, pickles=True)
    assert sum(puller.partials) > 0
    hub.faults.clear()
    hub.seen.clear()
    await puller(NAME, pickles=True)
    assert [seen.range for seen in hub.seen if seen.storage and seen.method == "GET"][-1]


async def test_without_torch_nothing_is_fetched(
    hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, {"config.json": config(), "pytorch_model.bin": b"PK"})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = await refused(puller, NAME, pickles=True)
    assert (error.code, error.hint) == ("missing_package", "pip install 'freehold[reference]'")
    assert not [seen for seen in hub.seen if seen.storage]


# What a stranger may have written


def _strided(path: Path) -> bytes:
    return saved({"a": torch.zeros(1).expand(1 << 40)}, path)


BROKEN: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "the old format": (lambda p: saved(tensors(), p, _use_new_zipfile_serialization=False), "bad_weights", "torch 1.6"),
    "a plain pickle": (lambda p: pickle.dumps(Evil(p / "never")), "bad_weights", "torch 1.6"),
    "garbage": (lambda p: b"PK\x03\x04" + bytes(300), "bad_weights", "cannot be read"),
    "nothing": (lambda p: b"", "bad_weights", "torch 1.6"),
    "cut off": (lambda p: saved(tensors(), p)[:-200], "bad_weights", "cannot be read"),
    "no weights": (lambda p: saved({"a": 1}, p), "bad_weights", "no weights by name"),
    "a list": (lambda p: saved([torch.ones(2)], p), "bad_weights", "no weights by name"),
    "a tensor that says it is large": (_strided, "bad_weights", "larger than what is stored"),
    "complex numbers": (lambda p: saved({"a": torch.ones(2, dtype=torch.complex64)}, p), "bad_weights", "complex64"),
    "a sparse one": (lambda p: saved({"a": torch.eye(3).to_sparse()}, p), "bad_weights", "safetensors do not have"),
    "a name with a bell": (lambda p: saved({"a\a": torch.ones(2)}, p), "bad_weights", "cannot be the name"),
    "an object of a class": (lambda p: saved({"a": Path("x")}, p), "pickle_refused", "which is code"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_checkpoint(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, for speed; the child runs the same function."""
    make, code, words = BROKEN[what]
    path = tmp_path / "x.bin"
    path.write_bytes(make(path))
    one = Pickled("x.bin", str(path), str(tmp_path / "out"))
    with pytest.raises(unpickle.Refused) as caught:
        unpickle._checked(one, unpickle._loaded(one))
    assert caught.value.said.code == code
    assert words in caught.value.said.error
    assert not (tmp_path / "out").exists()


def test_every_type_is_written_as_safetensors_has_it(tmp_path: Path) -> None:
    every = {
        name: torch.zeros(2, 3).to(getattr(torch, name))
        for name in unpickle.NAMES
        if name not in ("uint16", "uint32", "uint64")
    }
    unpickle._write(tmp_path / "x.safetensors", every | tensors())
    header = read_header(tmp_path / "x.safetensors")
    assert {name: header.tensors[name].dtype for name in every} == {name: unpickle.NAMES[name] for name in every}
    back = read_back(tmp_path / "x.safetensors")
    assert all(torch.equal(back[name], value) for name, value in tensors().items())


# The child


def test_the_child_has_no_keys_and_no_home(tmp_path: Path) -> None:
    secret = {"HF_TOKEN": "hf_x", "OPENAI_API_KEY": "sk-x", "HTTPS_PROXY": "http://u:p@x", "AWS_SECRET_ACCESS_KEY": "x"}
    seen = pickled.environment({**os.environ, **secret, "HOME": "/root"}, tmp_path)
    assert not set(secret) & set(seen)
    assert seen["HOME"] == str(tmp_path)


PROBE = """
import os, socket, subprocess, sys
from freehold.own.weights import unpickle
unpickle._leave_network()
sys.addaudithook(unpickle._forbid)
for forbidden in (
    lambda: socket.create_connection(("127.0.0.1", 9), 1), lambda: os.system("true"),
    lambda: subprocess.run(["true"]), lambda: os.execv("/bin/true", ["true"]), os.fork,
):
    try:
        forbidden()
    except PermissionError:
        continue
    sys.exit("it could")
print("it could not")
"""


def test_the_child_can_neither_connect_nor_start_a_program() -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "it could not\n", done.stderr


def test_a_child_that_takes_too_long_or_too_much(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    saved({"a": torch.zeros(1000)}, path)
    with pytest.raises(EngineError, match="more than 0 s"):
        pickled.run(task(path, tmp_path, seconds=0), tmp_path)
    with pytest.raises(EngineError) as caught:
        pickled.run(task(path, tmp_path, disk=100), tmp_path)
    assert caught.value.code == "bad_weights"
    (tmp_path / "out.safetensors").unlink(missing_ok=True)
    big = tmp_path / "big.bin"
    saved({"a": torch.zeros(8 << 20)}, big)
    with pytest.raises(EngineError) as caught:
        pickled.run(task(big, tmp_path, memory=64 << 20), tmp_path)
    assert caught.value.code in ("bad_weights", "no_memory")


def test_the_child_does_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    saved(tensors(), path)
    told = pickled.run(task(path, tmp_path), tmp_path)
    assert told == Told([sorted(tensors())], str(torch.__version__))


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["model.safetensors", "pytorch_model.bin"], []),
        (["pytorch_model.bin", "training_args.bin"], ["pytorch_model.bin"]),
        (["model.pth", "optimizer.pt", "scheduler.pt"], ["model.pth"]),
        (["original/consolidated.00.pth", "pytorch_model.bin"], ["pytorch_model.bin"]),
    ],
)
def test_which_pickles_are_taken(names: list[str], taken: list[str]) -> None:
    chosen = pick("o/n", [Listed(name, 1) for name in [*names, "config.json"]], pickles=True)
    assert [file.name for file in chosen.pickled] == taken


@pytest.mark.parametrize("names", [["pytorch_model-00001-of-00002.bin"], ["tf_model.h5"], ["adapter_model.pt"]])
def test_pickles_that_cannot_be_read(names: list[str]) -> None:
    with pytest.raises(EngineError) as caught:
        pick("o/n", [Listed(name, 1) for name in [*names, "config.json"]], pickles=True)
    assert caught.value.code == "pickle_refused"
    assert "what can be read" in (caught.value.hint or "")
