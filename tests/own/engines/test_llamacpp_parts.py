"""The real llama.cpp with what stands beside a model: LoRA weights, a vision projector, a reranker, split files."""

import asyncio
import base64
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec, Lora
from freehold.own.engines import adapter, describe
from freehold.own.engines.llamacpp import gpu_share

tiny_parts = pytest.importorskip("tiny_parts", reason="the gguf package is not installed: pip install 'freehold[own]'")
pytestmark = pytest.mark.usefixtures("engine_needed")

Start = Callable[..., Awaitable[Any]]
PROMPT = {"prompt": "hello hello hello", "max_tokens": 8, "temperature": 0}


def byte_alphabet() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]


@pytest.fixture
def loras(tmp_path: Path) -> tuple[Lora, Lora]:
    first = Lora("polite", tiny_parts.lora(tmp_path / "polite.gguf", seed=1))
    return first, Lora("rude", tiny_parts.lora(tmp_path / "rude.gguf", seed=2), 0.5)


async def say(running: Any, lora: Lora | None) -> str:
    status, answer = await running.post("/v1/completions", PROMPT | running.adapter.fields(running.spec, lora))
    assert status == 200, answer
    return str(answer["choices"][0]["text"])


async def test_each_request_gets_the_lora_it_names_whatever_came_before(
    start: Start, tiny: Path, loras: tuple[Lora, Lora]
) -> None:
    """A prompt read with one LoRA must not be answered from the cache with another, or with none."""
    running = await start(EngineSpec("tiny", tiny, 256, adapters=loras))
    plain = await start(EngineSpec("plain", tiny, 256))
    expected = {one.name: await say(running, one) for one in loras}
    assert len({await say(plain, None), *expected.values()}) == 3
    for one in (None, *loras, None, None, *reversed(loras), None):
        assert await say(running, one) == (expected[one.name] if one else await say(plain, None))
    mixed = [(None, *loras)[number % 3] for number in range(12)]
    for one, said in zip(mixed, await asyncio.gather(*(say(running, one) for one in mixed)), strict=True):
        assert said == (expected[one.name] if one else await say(plain, None))
    status, answer = await running.post("/v1/completions", PROMPT | running.adapter.fields(running.spec, loras[1]))
    assert (status, answer["model"]) == (200, "tiny")


async def test_the_scale_of_a_request_counts(start: Start, tiny: Path, loras: tuple[Lora, Lora]) -> None:
    _, rude = loras
    running = await start(EngineSpec("tiny", tiny, 256, adapters=(rude,)))
    assert await say(running, rude) != await say(running, msgspec.structs.replace(rude, scale=0.01))


async def test_the_projector_makes_the_model_see(start: Start, tiny: Path, tmp_path: Path) -> None:
    spec = EngineSpec("tiny", tiny, 256, projector=tiny_parts.projector(tmp_path / "mmproj.gguf"))
    running = await start(spec)
    facts = msgspec.json.decode(await running.life.ask(running.adapter.facts))
    assert "vision" in running.adapter.capabilities(spec, running.model, facts)

    async def look(flat: bool) -> Any:
        url = "data:image/png;base64," + base64.b64encode(_stripes(28, flat)).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "hi"}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8, "temperature": 0, "logprobs": True}
        status, answer = await running.post("/v1/chat/completions", body | {"cache_prompt": False})
        assert status == 200, answer
        return answer

    lying, standing = await look(True), await look(False)
    assert lying["usage"]["prompt_tokens"] >= 4
    assert lying["choices"] != standing["choices"]
    assert lying["choices"] == (await look(True))["choices"]


def _stripes(side: int, flat: bool) -> bytes:
    """A PNG of stripes, lying or standing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    rows = [[(y if flat else x) // 7 % 2 * 255 for x in range(side)] for y in range(side)]
    pixels = zlib.compress(b"".join(b"\0" + bytes(shade for shade in row for _ in range(3)) for row in rows))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


async def test_a_reranker_ranks_and_does_nothing_else(start: Start, tmp_path: Path) -> None:
    running = await start(EngineSpec("rank", tiny_parts.reranker(tmp_path / "rank.gguf", byte_alphabet()), 256))
    assert running.adapter.capabilities(running.spec, running.model, {}) == ["rerank"]
    body = {"query": "hello", "documents": ["a", "hello hello", "zzz"]}
    status, answer = await running.post("/v1/rerank", body | running.adapter.fields(running.spec))
    assert status == 200, answer
    scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert sorted(scores) == [0, 1, 2]
    assert len(set(scores.values())) == 3


async def test_a_model_in_several_files_is_loaded_by_its_first(start: Start, make_gguf: Callable[..., Path]) -> None:
    whole = make_gguf("whole.gguf")
    first = tiny_parts.split(whole, 3)
    spec = EngineSpec("tiny", first, 256)
    model = describe(spec)
    assert model.parameters == describe(EngineSpec("whole", whole, 256)).parameters
    assert model.size > whole.stat().st_size
    assert await say(await start(spec), None) == await say(await start(EngineSpec("whole", whole, 256)), None)


def test_a_part_that_is_missing_is_told_before_the_engine_starts(make_gguf: Callable[..., Path]) -> None:
    first = tiny_parts.split(make_gguf("parts.gguf"), 2)
    second = first.with_name("parts-00002-of-00002.gguf")
    with pytest.raises(EngineError, match="is not the first part"):
        describe(EngineSpec("tiny", second, 256))
    second.unlink()
    with pytest.raises(EngineError, match=r"lacks its part parts-00002-of-00002\.gguf"):
        describe(EngineSpec("tiny", first, 256))


def test_lora_weights_that_do_not_fit_are_refused(tiny: Path, tmp_path: Path) -> None:
    other = tiny_parts.lora(tmp_path / "qwen2.gguf", seed=1, architecture="qwen2")
    for file, says in ((other, "is for qwen2"), (tiny, "holds no LoRA"), (tmp_path / "none.gguf", "No such file")):
        spec = EngineSpec("tiny", tiny, 256, adapters=(Lora("a", file),))
        with pytest.raises(EngineError, match=says) as caught:
            adapter("llamacpp").plan(spec, describe(spec), "k")
        assert caught.value.retry == "no"


def test_what_stands_beside_the_model_counts_as_memory(tiny: Path, loras: tuple[Lora, Lora]) -> None:
    def need(**changes: Any) -> int:
        spec = EngineSpec("tiny", tiny, 256, **changes)
        return adapter("llamacpp").plan(spec, describe(spec), "k").memory

    assert need(adapters=loras) == need() + sum(one.path.stat().st_size for one in loras)
    assert need(memory=12345) == 12345


def test_layers_on_the_gpu_take_their_share_of_it(tiny: Path) -> None:
    spec = EngineSpec("tiny", tiny, 256)
    model = describe(spec)
    whole = model.weights + model.kv_cache(4 * 256)
    assert gpu_share(spec, model) == 0
    assert 0 < gpu_share(msgspec.structs.replace(spec, gpu_layers=1), model) < whole
    assert gpu_share(msgspec.structs.replace(spec, gpu_layers=99), model) == whole


def test_a_folder_is_not_for_llamacpp(weights: Path) -> None:
    spec = EngineSpec("tiny", weights, 256)
    with pytest.raises(EngineError, match="is no GGUF file"):
        adapter("llamacpp").plan(spec, describe(spec), "k")
