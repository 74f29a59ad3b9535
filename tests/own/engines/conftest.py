"""Engines that cannot be installed here, as tests/support/standin_engine.py, and a model folder for them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standin_engine import write_commands

from freehold.call.transport import fetch
from freehold.own.engine import Adapter, EngineSpec, Host, LaunchPlan
from freehold.own.engines import adapter as adapter_named
from freehold.own.engines import describe
from freehold.own.gguf import ModelFile
from freehold.own.life import BoundedLog, Life, launch


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on the PATH whose `vllm`, `sglang` ... are the stand-in."""
    folder = write_commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder that looks like a small Llama in safetensors; its name holds what engines stumble over."""
    folder = tmp_path / "tiny@v3"
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 512,
        "dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    return folder


@pytest.fixture
def lora_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, rank: int = 16) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
        return folder

    return make


class Running:
    """An engine that has answered."""

    def __init__(self, adapter: Adapter, spec: EngineSpec, model: ModelFile, plan: LaunchPlan, life: Life) -> None:
        self.adapter, self.spec, self.model, self.plan, self.life = adapter, spec, model, plan, life

    async def post(self, path: str, body: dict[str, Any], key: str | None = None) -> tuple[int, Any]:
        """Returns (status, JSON); with `key` another key than the engine's."""
        headers = {"content-type": "application/json"}
        if key or self.life.api_key:
            headers["authorization"] = f"Bearer {key or self.life.api_key}"
        status, _, data = await fetch("POST", self.life.origin + path, headers, msgspec.json.encode(body), timeout=30)
        return status, msgspec.json.decode(data) if data.startswith((b"{", b"[")) else data.decode()

    async def chat(self, text: str, fields: dict[str, Any] | None = None) -> str:
        """Asks as the gateway does: what the client wrote, with the adapter's fields over it."""
        body = {"model": "own/anything", "messages": [{"role": "user", "content": text}], "max_tokens": 8}
        status, answer = await self.post("/v1/chat/completions", body | (fields or self.adapter.fields(self.spec)))
        assert status == 200, answer
        return str(answer["choices"][0]["message"]["content"])


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Plans, launches, waits and warms; what it started is ended after the test."""
    lives: list[Life] = []

    async def start(
        spec: EngineSpec, *, host: Host | None = None, change: Callable[[LaunchPlan], LaunchPlan] | None = None
    ) -> Running:
        adapter = adapter_named(spec.engine, drain=5.0)
        model = describe(spec)
        plan = adapter.plan(spec, model, "the-engine's-key", host or Host())
        plan = msgspec.structs.replace(plan, ready_timeout=min(20.0, plan.ready_timeout))
        life = await launch(change(plan) if change else plan, BoundedLog(tmp_path / f"{spec.name}.log"))
        lives.append(life)
        await life.answering()
        await life.ask(adapter.health)
        await life.ask(adapter.warm_up(spec, model))
        return Running(adapter, spec, model, plan, life)

    yield start
    await asyncio.gather(*(life.end() for life in lives))
