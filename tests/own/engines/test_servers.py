"""Each server's adapter against the stand-in that speaks its command line and HTTP surface (not the real engines)."""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.call.transport import fetch
from freehold.errors import EngineError
from freehold.own.engine import EngineSpec, Gpu, Host, Installed, Lora, Missing, Progress
from freehold.own.engines import adapter, describe

Start = Callable[..., Awaitable[Any]]
GGUF = ("llama-server",)
SERVERS = ("vllm", "sglang", "trtllm", "llama-server", "mlx")
KEYED = ("vllm", "sglang", "llama-server")
MEASURED = ("vllm", "sglang", "trtllm", "llama-server")
GPU = Host((Gpu(0, "a GPU", 80 << 30, 79 << 30),))


@pytest.fixture
def spec_of(weights: Path, tiny: Path) -> Callable[..., EngineSpec]:
    def make(engine: str, **changes: Any) -> EngineSpec:
        path = tiny if engine in GGUF else weights
        return EngineSpec("tiny", changes.pop("path", path), 256, engine=engine, **changes)

    return make


@pytest.mark.parametrize("engine", SERVERS)
async def test_a_server_lives_from_plan_to_stop(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec], is_alive: Callable[[int], bool]
) -> None:
    running = await start(spec_of(engine, parallel=3), host=GPU)
    assert await running.chat("one two") == "stand-in: one two"
    pids = running.life.pids()
    assert len(pids) >= 2
    memory = running.life.memory()
    assert memory is not None
    assert memory.private > 1 << 20
    assert running.life.origin.startswith("http://127.0.0.1:")
    await running.life.stop(5.0)
    assert await running.life.exited() == 0
    await running.life.end()
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("engine", SERVERS)
async def test_the_key_is_asked_for_where_the_engine_can_and_is_on_no_command_line(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    running = await start(spec_of(engine))
    body = {"messages": [{"role": "user", "content": "a"}], **running.adapter.fields(running.spec)}
    status, _ = await running.post("/v1/chat/completions", body, key="another")
    assert status == (401 if engine in KEYED else 200)
    assert bool(running.plan.api_key) == (engine in KEYED)
    for pid in running.life.pids():
        assert b"the-engine's-key" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("engine", MEASURED)
async def test_progress_is_read_from_the_engines_own_metrics(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    running = await start(spec_of(engine))
    before = running.adapter.progress(await running.life.ask(running.adapter.metrics))
    await running.chat("one two three")
    after = running.adapter.progress(await running.life.ask(running.adapter.metrics))
    assert after.moved(before)
    assert not after.moved(after)
    assert after.running == 0
    assert after.waiting == 0


@pytest.mark.parametrize("engine", SERVERS)
def test_garbage_in_metrics_is_no_progress(engine: str) -> None:
    for body in (b"", b"\xff\xfe{}", b"[]", b"[1]", b"[{}]", b'{"a":1}', b"vllm:num_requests_running NaN\n", b"a b c"):
        assert adapter(engine).progress(body) == Progress()


async def test_vllm_loads_and_unloads_lora_while_it_runs(
    start: Start, standins: Path, spec_of: Callable[..., EngineSpec], lora_folder: Callable[..., Path]
) -> None:
    first, second = Lora("polite", lora_folder("polite", 20)), Lora("rude", lora_folder("rude", 8))
    running = await start(spec_of("vllm", adapters=(first,)))
    engine, spec = running.adapter, running.spec
    assert "32" in running.plan.argv
    assert await running.chat("hello", engine.fields(spec, first)) == "[polite] stand-in: hello"
    load = engine.load_lora(spec, second)
    assert load is not None
    await running.life.ask(load)
    assert await running.chat("hello", engine.fields(spec, second)) == "[rude] stand-in: hello"
    assert await running.chat("hello") == "stand-in: hello"
    await running.life.ask(engine.unload_lora(spec, second))
    status, _ = await running.post("/v1/chat/completions", {"messages": []} | engine.fields(spec, second))
    assert status == 404
    assert engine.load_lora(spec, Lora("wide", lora_folder("wide", 64))) is None
    assert engine.load_lora(spec_of("vllm"), second) is None


async def test_sglang_loads_and_unloads_lora_while_it_runs(
    start: Start, standins: Path, spec_of: Callable[..., EngineSpec], lora_folder: Callable[..., Path]
) -> None:
    first, second = Lora("polite", lora_folder("polite", 20)), Lora("rude", lora_folder("rude", 8))
    running = await start(spec_of("sglang", adapters=(first,)))
    engine, spec = running.adapter, running.spec
    await running.life.ask(engine.load_lora(spec, second))
    assert await running.chat("hello", engine.fields(spec, second)) == "[rude] stand-in: hello"
    assert await running.chat("hello", engine.fields(spec, first)) == "[polite] stand-in: hello"
    assert await running.chat("hello") == "stand-in: hello"
    await running.life.ask(engine.unload_lora(spec, second))
    status, _ = await running.post("/v1/chat/completions", {"messages": []} | engine.fields(spec, second))
    assert status == 404


async def test_trtllm_is_launched_with_its_lora(
    start: Start, standins: Path, spec_of: Callable[..., EngineSpec], lora_folder: Callable[..., Path]
) -> None:
    lora = Lora("polite", lora_folder("polite"))
    running = await start(spec_of("trtllm", adapters=(lora,)))
    fields = running.adapter.fields(running.spec, lora)
    assert await running.chat("hello", fields) == "[polite] stand-in: hello"
    assert await running.chat("hello") == "stand-in: hello"
    assert running.adapter.load_lora(running.spec, lora) is None


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("level", [1, 2])
async def test_an_engine_sleeps_and_wakes(
    engine: str, level: int, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    running = await start(spec_of(engine, sleep=level))
    for probe in running.adapter.sleep(level):
        await running.life.ask(probe)
    status, answer = await running.post("/v1/completions", {"prompt": "a"} | running.adapter.fields(running.spec))
    assert status == 500, answer
    for probe in running.adapter.wake(running.spec, level):
        await running.life.ask(probe)
    assert await running.chat("awake") == "stand-in: awake"
    assert running.adapter.sleep(3) == ()


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
async def test_without_a_sleep_level_the_routes_for_sleeping_stay_shut(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    running = await start(spec_of(engine))
    with pytest.raises(EngineError):
        await running.life.ask(running.adapter.sleep(1)[0])
    assert await running.chat("awake") == "stand-in: awake"


@pytest.mark.parametrize("engine", SERVERS)
async def test_an_unknown_flag_is_refused_for_good(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    with pytest.raises(EngineError, match="unrecognized arguments: --no-such-flag") as caught:
        await start(spec_of(engine, args=("--no-such-flag",)))
    assert caught.value.retry == "no"
    assert caught.value.hint


def test_the_share_of_a_gpu_follows_the_need(standins: Path, spec_of: Callable[..., EngineSpec]) -> None:
    for engine, flag in (("vllm", "--gpu-memory-utilization"), ("sglang", "--mem-fraction-static")):
        spec = spec_of(engine, memory=40 << 30)
        plan = adapter(engine).plan(spec, describe(spec), "k", GPU)
        assert 0.45 < float(plan.argv[plan.argv.index(flag) + 1]) <= 0.5
        assert plan.gpu_memory == 40 << 30
        assert flag not in adapter(engine).plan(spec, describe(spec), "k").argv


def test_an_engine_sees_no_key_of_ours_and_no_hub(
    standins: Path, spec_of: Callable[..., EngineSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "VLLM_API_KEY", "SGLANG_SECRET"):
        monkeypatch.setenv(name, "ours")
    for engine in ("vllm", "sglang", "trtllm", "mlx"):
        spec = spec_of(engine, env=(("EXTRA", "1"),))
        env = adapter(engine).plan(spec, describe(spec), "the-key").env
        assert "ours" not in env.values()
        assert env["HF_HUB_OFFLINE"] == "1"
        assert env["EXTRA"] == "1"


def test_remote_code_runs_only_where_a_person_allowed_it(standins: Path, spec_of: Callable[..., EngineSpec]) -> None:
    for engine, flag in (("vllm", "--trust-remote-code"), ("sglang", "--trust-remote-code"),
                         ("trtllm", "--trust_remote_code"), ("mlx", "--trust-remote-code")):  # fmt: skip
        for allowed in (False, True):
            spec = spec_of(engine, remote_code=allowed)
            assert (flag in adapter(engine).plan(spec, describe(spec), "k").argv) == allowed


@pytest.mark.parametrize(
    ("engine", "changes", "says"),
    [
        ("vllm", {"path": None}, "needs the weights"),
        ("mlx", {"adapters": (Lora("a", Path("/nowhere")),)}, "no LoRA"),
        ("vllm", {"adapters": (Lora("a", Path("/nowhere")),)}, "adapter_config.json"),
        ("sglang", {"projector": Path("/nowhere")}, "no projector"),
        ("vllm", {"adapters": (Lora("a", Path("/nowhere"), 0.5),)}, "scale must be 1"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_before_it_starts(
    engine: str, changes: dict[str, Any], says: str, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    spec = spec_of(engine, **changes)
    with pytest.raises(EngineError, match=says) as caught:
        adapter(engine).plan(spec, describe(spec), "k")
    assert caught.value.retry == "no"


def test_each_engine_takes_its_formats_only(standins: Path, weights: Path, tiny: Path) -> None:
    for engine, path, kind in (("vllm", tiny, "gguf"), ("llama-server", weights, "safetensors")):
        spec = EngineSpec("tiny", path, 256, engine=engine)
        with pytest.raises(EngineError, match=f"does not take {kind}"):
            adapter(engine).plan(spec, describe(spec), "k")


def test_a_missing_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for engine in ("vllm", "sglang", "trtllm", "mlx", "llama-server", "ollama", "lmstudio"):
        found = adapter(engine).probe()
        assert isinstance(found, Missing)
        assert found.hint
    with pytest.raises(EngineError, match="vllm is not installed") as caught:
        adapter("vllm").plan(EngineSpec("a", weights, 256, engine="vllm"), describe(EngineSpec("a", weights, 256)), "k")
    assert (caught.value.code, caught.value.retry) == ("engine_missing", "no")


def test_an_installed_engine_is_found_on_the_path(standins: Path) -> None:
    for engine in ("vllm", "sglang", "trtllm", "mlx", "llama-server", "ollama", "lmstudio"):
        assert isinstance(adapter(engine).probe(), Installed)


def test_capabilities_follow_the_model(weights: Path, spec_of: Callable[..., EngineSpec]) -> None:
    def able(engine: str, **changes: Any) -> list[str]:
        config = json.loads((weights / "config.json").read_text()) | changes
        (weights / "config.json").write_text(json.dumps(config))
        spec = spec_of(engine)
        return adapter(engine).capabilities(spec, describe(spec), {})

    assert able("vllm") == ["chat", "completions", "logprobs", "schema", "tools"]
    assert able("sglang") == ["chat", "completions", "logprobs", "lora_runtime", "schema"]
    assert able("trtllm") == ["chat", "completions", "logprobs", "lora_static", "schema"]
    assert "tools" not in able("vllm", model_type="gemma3")
    assert "vision" in able("vllm", vision_config={}, architectures=["Gemma3ForConditionalGeneration"])
    assert able("vllm", architectures=["BertModel"]) == ["embeddings"]
    assert able("vllm", architectures=["XLMRobertaForSequenceClassification"]) == ["rerank"]
    assert able("vllm", architectures=["WhisperForConditionalGeneration"]) == ["transcription"]


@pytest.mark.parametrize("engine", SERVERS)
async def test_a_stream_comes_token_by_token(
    engine: str, start: Start, standins: Path, spec_of: Callable[..., EngineSpec]
) -> None:
    running = await start(spec_of(engine))
    body = {"messages": [{"role": "user", "content": "one two"}], "stream": True} | running.adapter.fields(running.spec)
    headers = {"authorization": f"Bearer {running.life.api_key}"}
    url = f"{running.life.origin}/v1/chat/completions"
    _, _, data = await fetch("POST", url, headers, json.dumps(body).encode(), timeout=10)
    events = [line.removeprefix(b"data: ") for line in data.splitlines() if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    words = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]]
    assert "".join(words) == "stand-in: one two"
    assert os.environ["PATH"].startswith(str(standins))
