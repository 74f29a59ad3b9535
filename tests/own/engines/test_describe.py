import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec
from freehold.own.engines import ENGINES, adapter, adapters, describe
from freehold.own.engines.describe import read_folder


def rewrite(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_is_described_by_its_configuration(weights: Path) -> None:
    model = read_folder(weights)
    assert (model.architecture, model.weights, model.parameters) == ("llama", 100_000, 50_000)
    assert (model.context, model.layers, model.vocabulary, model.template) == (512, 2, 512, True)
    assert model.kv_width == 2 * 2 * 2 * 16
    assert model.kv_cache(10) == 2 * model.kv_width * 10
    assert not model.metadata["vision"]


def test_several_files_count_together(weights: Path) -> None:
    (weights / "model-00002.safetensors").write_bytes(bytes(50_000))
    assert read_folder(weights).size == 150_000


def test_latent_attention_caches_one_vector(weights: Path) -> None:
    rewrite(weights, kv_lora_rank=32, qk_rope_head_dim=8)
    assert read_folder(weights).kv_width == 2 * 40


def test_the_text_part_of_a_vision_model_counts(weights: Path) -> None:
    rewrite(weights, vision_config={"hidden_size": 9}, text_config={"num_hidden_layers": 3, "hidden_size": 32,
            "num_attention_heads": 2, "num_key_value_heads": 2})  # fmt: skip
    model = read_folder(weights)
    assert model.metadata["vision"]
    assert (model.layers, model.kv_width) == (3, 3 * 2 * 2 * 16)


def test_pickles_are_refused_with_the_reason(weights: Path) -> None:
    (weights / "model.safetensors").rename(weights / "pytorch_model.bin")
    with pytest.raises(EngineError, match="can run any code"):
        read_folder(weights)
    (weights / "pytorch_model.bin").unlink()
    with pytest.raises(EngineError, match="holds no safetensors"):
        read_folder(weights)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000])
def test_a_configuration_that_is_none_is_refused(weights: Path, text: bytes) -> None:
    (weights / "config.json").write_bytes(text)
    with pytest.raises(EngineError, match=r"no readable config\.json"):
        read_folder(weights)


def test_a_configuration_of_gigabytes_is_not_read(weights: Path) -> None:
    os.truncate(weights / "config.json", 1 << 33)
    with pytest.raises(EngineError, match=r"no readable config\.json"):
        read_folder(weights)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


FIELDS = (
    "architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim", "dtype", "auto_map",
    "num_key_value_heads", "text_config", "vision_config", "quantization_config", "kv_lora_rank",
    "max_position_embeddings", "vocab_size",
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    config=st.fixed_dictionaries(
        {"model_type": JSON},
        optional=dict.fromkeys(FIELDS, JSON),
    )
)
def test_no_configuration_breaks_a_plan(weights: Path, config: dict[str, Any]) -> None:
    (weights / "config.json").write_text(json.dumps(config))
    spec = EngineSpec("tiny", weights, 256, engine="command", command=("true", "${PORT}"))
    model = describe(spec)
    assert model.kv_width >= 0
    plan = adapter("command").plan(spec, model, "k")
    assert plan.memory >= 0
    for engine in adapters().values():
        assert engine.capabilities(spec, model, {}) == sorted(engine.capabilities(spec, model, {}))


def test_an_engine_with_its_own_model_needs_no_file() -> None:
    assert describe(EngineSpec("a", None, 512)).size == 0


def test_the_engines_are_those_of_the_configuration() -> None:
    from typing import get_args

    from freehold.config.schema import EngineName

    assert set(ENGINES) == set(adapters()) == set(get_args(EngineName))
    with pytest.raises(EngineError, match="there is no engine 'tgi'"):
        adapter("tgi")
