"""The reference process: bounded, alone with torch, and right about formats that need a GPU elsewhere."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.parity import original
from freehold.own.parity.answers import Answers, Questions
from freehold.own.parity.questions import questions
from freehold.own.parity.reference import Task

pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'freehold[reference]'")

ONE = Questions(["The weather tomorrow will be"], questions().conversations[:1], continuation=2, window=2, top=4)


async def test_it_answers(tiny_repo: Callable[..., Path]) -> None:
    answers = await original.ask(tiny_repo("qwen2"), ONE, parameters=100_000)
    (passage,) = answers.passages
    assert [one.at for one in passage.positions] == list(range(len(passage.ids) - 2, len(passage.ids) + 3))
    assert len(passage.continuation) == 2
    assert all(len(one.ids) == 4 and one.logprobs == sorted(one.logprobs, reverse=True) for one in passage.positions)
    assert passage.positions[-3].ids[0] == passage.continuation[0]
    assert answers.chats[0].text.endswith("<|im_start|>assistant\n")
    assert answers.who.endswith("float32")


async def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(EngineError, match="the original cannot be asked"):
        await original.ask(tmp_path, ONE, parameters=1)


async def test_code_of_the_repository_is_not_run(tiny_repo: Callable[..., Path], tmp_path: Path) -> None:
    for file in tiny_repo("llama3").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(EngineError):
        await original.ask(tmp_path, ONE, parameters=1)
    assert not (tmp_path / "ran").exists()


async def test_it_is_ended_when_it_takes_too_long(
    tiny_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "BASE_TIME", 0.05)
    with pytest.raises(EngineError, match=r"within 0\.0"):
        await original.ask(tiny_repo("qwen2"), ONE, parameters=1)


async def test_a_model_that_does_not_fit_is_not_tried(
    tiny_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "available", lambda: 1 << 30)
    with pytest.raises(original.NoReference, match="GiB of memory"):
        await original.ask(tiny_repo("qwen2"), ONE, parameters=10**9)


async def test_half_the_memory_means_half_the_precision(
    tiny_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = 10**9
    monkeypatch.setattr(original, "available", lambda: 5 * parameters)
    seen = []

    async def run(message: bytes, timeout: float) -> bytes:
        seen.append(msgspec.json.decode(message, type=Task))
        return b'{"error": "enough"}\n'

    monkeypatch.setattr(original, "_run", run)
    with pytest.raises(EngineError, match="enough"):
        await original.ask(tiny_repo("qwen2"), ONE, parameters=parameters)
    assert seen[0].dtype == "bfloat16"


def test_it_ends_when_its_parent_does() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", original.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (0, b"")


def test_four_bit_blocks_are_what_ggml_makes_of_them() -> None:
    """The converter's rearrangement, multiplied out by the gguf package, is what the reference multiplies out."""
    gguf = pytest.importorskip("gguf")
    import numpy as np
    import torch

    from freehold.own.convert.families.gpt_oss import repacked
    from freehold.own.parity.reference import mxfp4

    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (2, 3, 4, 16), np.uint8)
    scales = random.integers(100, 140, (2, 3, 4), np.uint8)
    theirs = gguf.quants.dequantize(repacked(blocks, scales), gguf.GGMLQuantizationType.MXFP4)
    ours = mxfp4(torch.from_numpy(blocks), torch.from_numpy(scales))
    assert np.array_equal(theirs, ours.numpy().swapaxes(1, 2))


def test_eight_bit_blocks_at_the_edge_are_smaller() -> None:
    import torch

    from freehold.own.parity.reference import fp8

    weight = torch.ones(5, 3).to(torch.float8_e4m3fn)
    scale = torch.tensor([[1.0], [2.0], [3.0]])
    assert fp8(weight, scale)[:, 0].tolist() == [1, 1, 2, 2, 3]


def test_answers_travel(tiny_repo: Callable[..., Path]) -> None:
    answers = asyncio.run(original.ask(tiny_repo("qwen2"), ONE, parameters=1))
    assert msgspec.json.decode(msgspec.json.encode(answers), type=Answers) == answers
