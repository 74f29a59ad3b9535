import json
import os
from pathlib import Path

import msgspec
import pytest

from freehold.own.engine import EngineSpec, Installed, Missing
from freehold.own.engines import llamacpp
from freehold.own.engines.llamacpp import LlamaCpp, batch_of, default_threads, environment
from freehold.own.gguf import read_header


def test_a_plan_hides_the_key_and_carries_the_settings(tiny: Path) -> None:
    plan = LlamaCpp().plan(EngineSpec("tiny", tiny, 256, parallel=3, threads=7), read_header(tiny), "the-key")
    assert "the-key" not in " ".join([*plan.argv, *plan.env.values()])
    message = json.loads(plan.message)
    assert (message["api_key"], message["context"], message["parallel"], message["threads"]) == ("the-key", 256, 3, 7)
    assert plan.message.endswith(b"\n")
    assert plan.mapped < plan.memory < message["memory_limit"]
    assert plan.ready_timeout >= 30


def test_an_engine_sees_no_provider_key() -> None:
    env = {"OPENAI_API_KEY": "x", "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
    assert environment(env) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "GOMP_SPINCOUNT": "1000"}
    assert environment({"GOMP_SPINCOUNT": "5"}) == {"GOMP_SPINCOUNT": "5"}


def test_threads_follow_cores_and_size() -> None:
    assert default_threads(2_000_000) == 1
    assert 1 <= default_threads(8_000_000_000) <= min(8, os.cpu_count() or 1)


def test_a_batch_takes_the_whole_context_unless_the_vocabulary_is_large(tiny: Path) -> None:
    model = read_header(tiny)
    assert batch_of(model, 512) == 512
    assert batch_of(model, 1500) == 1500
    assert batch_of(model, 100_000) == 2048
    assert batch_of(msgspec.structs.replace(model, vocabulary=150_000), 8192) == 512


def test_capabilities_come_from_the_template(tiny: Path) -> None:
    spec, model = EngineSpec("tiny", tiny, 512), read_header(tiny)
    plain = LlamaCpp().capabilities(spec, model, {"chat_template_caps": {"supports_tools": False}})
    every = ["chat", "completions", "count", "embeddings", "logprobs", "lora_static", "schema", "tools"]
    assert plain == [*every, "tools_in_words"] == LlamaCpp().capabilities(spec, model, {})
    assert LlamaCpp().capabilities(spec, model, {"chat_template_caps": {"supports_tools": True}}) == every
    assert "chat" not in LlamaCpp().capabilities(spec, msgspec.structs.replace(model, template=False), {})
    bert = msgspec.structs.replace(model, architecture="bert")
    assert LlamaCpp().capabilities(spec, bert, {}) == ["count", "embeddings"]
    assert LlamaCpp().capabilities(spec, msgspec.structs.replace(bert, pooling=4), {}) == ["rerank"]


def test_a_missing_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamacpp.importlib.util, "find_spec", lambda name: None)
    assert LlamaCpp().probe() == Missing(
        "the embedded engine, xllamacpp, is not installed", "pip install 'freehold[own]'"
    )


def test_an_installed_engine_says_its_version(engine_needed: None) -> None:
    found = LlamaCpp().probe()
    assert isinstance(found, Installed)
    assert found.version[0].isdigit()
