"""What is told of weights: from headers, configuration and model card, whatever strangers wrote there."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_weights import CARD, CONFIG, add, artefact, checkpoint, gguf_bytes

from freehold.own.weights.describe import FILE_TYPES, Facts, facts, facts_of, licence_of, memory
from freehold.own.weights.store import Store


def laid(tmp_path: Path, files: dict[str, bytes]) -> dict[str, Path]:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in files}


def of(tmp_path: Path, config: dict[str, Any] | None = None, **more: bytes) -> Facts:
    files = checkpoint(**more)
    if config is not None:
        files["config.json"] = json.dumps(config).encode()
    return facts(laid(tmp_path, files), "safetensors")


def test_gguf(tmp_path: Path) -> None:
    found = facts(laid(tmp_path, {"x.gguf": gguf_bytes(kind=8), "README.md": CARD}), "gguf")
    assert (found.architecture, found.parameters, found.quantisation) == ("llama", 128, "Q8_0")
    assert (found.context, found.layers, found.embedding, found.licence) == (512, 2, 64, "apache-2.0")
    assert (found.chat_template, found.template, found.end_tokens, found.title) == (
        "{{ messages }}",
        True,
        (1,),
        "tiny",
    )
    assert found.kv_cache(10) == 10 * 2 * 2 * (2 * 16) * 2


def test_a_split_gguf_counts_all_parts(tmp_path: Path) -> None:
    files = {f"m-0000{n + 1}-of-00002.gguf": gguf_bytes({"split.no": n, "split.count": 2}) for n in range(2)}
    assert facts(laid(tmp_path, files), "gguf").parameters == 256


def test_safetensors(tmp_path: Path) -> None:
    found = of(tmp_path)
    assert (found.architecture, found.parameters, found.quantisation) == ("llama", 32 + 48, "BF16")
    assert (found.context, found.licence, found.end_tokens, found.chat_template) == (
        512,
        "apache-2.0",
        (1,),
        "{{ messages }}",
    )
    assert found.kv_cache(10) == 10 * 2 * 2 * (2 * 16) * 2


@pytest.mark.parametrize(
    ("config", "width"),
    [
        (CONFIG, 2 * 2 * 2 * 16),
        (CONFIG | {"head_dim": 32}, 2 * 2 * 2 * 32),
        (CONFIG | {"num_key_value_heads": None}, 2 * 2 * 4 * 16),
        ({"model_type": "gemma3", "text_config": CONFIG}, 2 * 2 * 2 * 16),
        (CONFIG | {"kv_lora_rank": 24, "qk_rope_head_dim": 8}, 2 * 32),
        ({"n_layer": 3, "n_head": 4, "hidden_size": 64, "multi_query": True}, 3 * 2 * 1 * 16),
        ({"n_layer": 3, "n_head": 4, "hidden_size": 64, "num_kv_heads": 2, "multi_query": True,
          "new_decoder_architecture": True}, 3 * 2 * 2 * 16),
        ({}, 0),
        (CONFIG | {"num_attention_heads": "four", "num_key_value_heads": -1, "num_hidden_layers": True}, 0),
    ],
)  # fmt: skip
def test_the_cache_by_family(tmp_path: Path, config: dict[str, Any], width: int) -> None:
    assert of(tmp_path, config).kv_width == width


def test_the_template_of_its_own_file_goes_first(tmp_path: Path) -> None:
    assert of(tmp_path, chat_template__jinja=b"own").chat_template == "own"


def test_a_list_of_templates(tmp_path: Path) -> None:
    value = {"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}, 3]}
    assert of(tmp_path, tokenizer_config__json=json.dumps(value).encode()).chat_template == "D"


def test_end_tokens(tmp_path: Path) -> None:
    assert of(tmp_path, generation_config__json=b'{"eos_token_id": [7, 8, 7]}').end_tokens == (7, 8)
    assert of(tmp_path, CONFIG | {"eos_token_id": None}).end_tokens == ("</s>",)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: llama3.1\n---\n", "llama3.1"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ('---\nlicense: "a\\u001b[2Jb"\n---\n', "a [2Jb"),
        ("---\nlicense: 3\n---\n", None),
        ("---\nlicense: *unknown\n---\n", None),
        ("---\n!!python/object/apply:os.system [true]\n---\n", None),
        ("---\n- a\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("no front matter", None),
        ("", None),
    ],
)
def test_the_licence_of_a_card(card: str, licence: str | None) -> None:
    assert licence_of(card) == licence


@given(st.text(max_size=80).map(lambda text: f"---\n{text}\n---\n") | st.text(max_size=80))
def test_any_card(card: str) -> None:
    found = licence_of(card)
    assert found is None or found.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [*CONFIG, "text_config", "chat_template", "kv_lora_rank", "eos_token", "multi_query", "head_dim"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(config=st.dictionaries(st.sampled_from(KEYS), JSON), tokens=JSON | st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_configuration(config: dict[str, Any], tokens: Any, tmp_path: Path) -> None:
    found = of(tmp_path, config, tokenizer_config__json=json.dumps(tokens).encode())
    assert found.kv_cache(1) >= 0


def test_memory_by_quantisation(store: Store) -> None:
    with store.hold("test") as hold:
        one = artefact(store, hold, {"x.gguf": gguf_bytes(kind=8)}, "Q8_0")
        version = store.add("tiny", source=add(store).source, artefacts=(one,))
    known = facts_of(store, version, one)
    needs = {need.quantisation: need for need in memory(known, (one,), 100)}
    assert (needs["Q8_0"].weights, needs["Q8_0"].artefact) == (one.size, one.id)
    assert needs["F16"].artefact is None
    assert needs["F16"].weights == 256
    assert needs["F16"].cache == known.kv_cache(100)
    assert needs["Q4_K_M"].weights < needs["F16"].weights


def test_the_file_types_are_the_official_ones() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    for number, name in FILE_TYPES.items():
        official = gguf.LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        assert official in (name, f"{name}_MOE")
