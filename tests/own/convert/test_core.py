"""What a converted file holds, and what is said of repositories that cannot be converted."""

import json
import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_repository import FFN, HEADS, KV_HEADS, SPECIALS, VOCABULARY, WIDTH, Repository, read

from freehold.errors import EngineError
from freehold.own.convert.core import convert, supported
from freehold.own.gguf import read_header


def refused(repository: Repository, out: Path, *words: str, code: str = "bad_weights", **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        convert(repository.write(), out, **options)
    assert caught.value.code == code
    for word in words:
        assert word in caught.value.text, caught.value.text
    assert not out.exists()
    assert not list(out.parent.glob("*.partial"))
    return caught.value


def test_keys_and_tensors(repository: Repository, tmp_path: Path) -> None:
    repository.files["README.md"] = "---\nlicense: apache-2.0\nlicense_link: https://example.org/l\n---\n# A model\n"
    seen: list[tuple[int, int, str]] = []
    out = tmp_path / "made.gguf"
    report = convert(
        repository.write(), out, name="tiny", source="https://example.org/m", progress=lambda *one: seen.append(one)
    )
    fields, tensors = read(out)
    expected = {
        "general.architecture": "llama", "general.type": "model", "general.name": "tiny",
        "general.license": "apache-2.0",
        "general.license.link": "https://example.org/l", "general.source.url": "https://example.org/m",
        "general.file_type": 0, "llama.context_length": 256, "llama.embedding_length": WIDTH, "llama.block_count": 2,
        "llama.feed_forward_length": FFN, "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": WIDTH // HEADS, "llama.rope.freq_base": 10000.0, "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": "{{ 'x' }}",
    }  # fmt: skip
    assert {key: fields.get(key) for key in expected} == expected
    assert fields["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == VOCABULARY
    assert tokens[:3] == list(SPECIALS)
    assert types[:4] == [3, 3, 3, 1]
    assert (tokens[-1], types[-1]) == (f"[PAD{VOCABULARY - 1}]", 5)
    np.testing.assert_array_equal(tensors["token_embd.weight"], repository.tensors["model.embed_tokens.weight"])
    np.testing.assert_array_equal(
        tensors["blk.1.ffn_down.weight"], repository.tensors["model.layers.1.mlp.down_proj.weight"]
    )
    assert (report.quantisation, report.parameters, report.size) == (
        "F32",
        sum(t.size for t in tensors.values()),
        out.stat().st_size,
    )
    assert read_header(out).parameters == report.parameters
    assert seen[0][0] == 0
    assert seen[-1][:2] == (seen[0][1], seen[0][1])
    assert [one[0] for one in seen] == sorted(one[0] for one in seen)


def test_queries_and_keys_are_put_in_pairs(repository: Repository, tmp_path: Path) -> None:
    convert(repository.write(), tmp_path / "made.gguf")
    _, tensors = read(tmp_path / "made.gguf")
    head = WIDTH // HEADS
    source = repository.tensors["model.layers.0.self_attn.k_proj.weight"]
    made = tensors["blk.0.attn_k.weight"]
    for row in range(source.shape[0]):
        start, place = row // head * head, row % head
        pair = 2 * (place % (head // 2)) + place // (head // 2)
        np.testing.assert_array_equal(made[start + pair], source[row])
    np.testing.assert_array_equal(
        tensors["blk.0.attn_v.weight"], repository.tensors["model.layers.0.self_attn.v_proj.weight"]
    )


@pytest.mark.parametrize(
    ("outtype", "kind", "error"), [("f16", 1, 1e-3), ("bf16", 30, 1e-2), ("q8_0", 8, 3e-2), ("F32", 0, 0.0)]
)
def test_types(repository: Repository, tmp_path: Path, outtype: str, kind: int, error: float) -> None:
    out = tmp_path / "made.gguf"
    report = convert(repository.write(), out, outtype=outtype)
    reader = {one.name: one for one in gguf.GGUFReader(out).tensors}
    assert reader["blk.0.ffn_up.weight"].tensor_type == kind
    assert reader["blk.0.attn_norm.weight"].tensor_type == 0
    _, tensors = read(out)
    source = repository.tensors["model.layers.0.mlp.up_proj.weight"]
    assert np.abs(tensors["blk.0.ffn_up.weight"] - source).max() <= error * np.abs(source).max()
    assert report.quantisation == outtype.upper()
    assert read_header(out).quantisation == outtype.upper()


def test_bf16_stays_as_it_is(repository: Repository, tmp_path: Path) -> None:
    exact = {name: one.view(np.uint32) & np.uint32(0xFFFF0000) for name, one in repository.tensors.items()}
    repository.tensors = {name: (one >> np.uint32(16)).astype(np.uint16) for name, one in exact.items()}
    repository.dtypes = dict.fromkeys(exact, "BF16")
    assert convert(repository.write(), tmp_path / "made.gguf").quantisation == "BF16"
    _, tensors = read(tmp_path / "made.gguf")
    np.testing.assert_array_equal(tensors["output.weight"].view(np.uint32), exact["lm_head.weight"])


def test_eight_bit_weights_are_scaled_by_block(repository: Repository, tmp_path: Path) -> None:
    """F8_E4M3 with one scale per block, as DeepSeek publishes: 0x38 is 1.0, 0xb8 is -1.0, 0x40 is 2.0."""
    name = "model.layers.0.mlp.up_proj.weight"
    codes = np.full((FFN, WIDTH), 0x38, np.uint8)
    codes[0, 0], codes[-1, -1] = 0xB8, 0x40
    repository.tensors[name] = codes
    repository.dtypes[name] = "F8_E4M3"
    repository.tensors[f"{name}_scale_inv"] = np.arange(1, 1 + -(-FFN // 24) * 2, dtype=np.float32).reshape(-1, 2)
    repository.config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [24, 16]}
    convert(repository.write(), tmp_path / "made.gguf", outtype="f32")
    made = read(tmp_path / "made.gguf")[1]["blk.0.ffn_up.weight"]
    assert made[0, 0] == -1
    assert made[0, 17] == 2
    assert made[23, 0] == 1
    assert made[24, 0] == 3
    assert made[-1, -1] == 2 * 6


def test_llama3_frequencies(repository: Repository, tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    repository.config["rope_scaling"] = scaling
    convert(repository.write(), tmp_path / "made.gguf")
    made = read(tmp_path / "made.gguf")[1]["rope_freqs.weight"]
    waves = [2 * math.pi * 10000.0 ** (2 * n / 8) for n in range(4)]
    smooth = (64 / waves[1] - 1) / 3
    assert 16 < waves[1] < 64
    np.testing.assert_allclose(made, [1, 1 / ((1 - smooth) / 8 + smooth), 8, 8], rtol=1e-6)


def test_yarn_and_linear(repository: Repository, tmp_path: Path) -> None:
    repository.config["rope_scaling"] = {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 32,
    }
    convert(repository.write(), tmp_path / "made.gguf")
    fields = read(tmp_path / "made.gguf")[0]
    assert fields["llama.rope.scaling.type"] == "yarn"
    assert fields["llama.rope.scaling.factor"] == 4
    assert fields["llama.rope.scaling.original_context_length"] == 64
    repository.config["rope_scaling"] = {"type": "linear", "factor": 2.0}
    convert(repository.write(), tmp_path / "made.gguf")
    assert read(tmp_path / "made.gguf")[0]["llama.rope.scaling.type"] == "linear"
    repository.config["rope_scaling"] = {"type": "dynamic", "factor": 2.0}
    assert any("dynamic" in note for note in convert(repository.write(), tmp_path / "made.gguf").notes)


def test_tied_output_is_not_written_twice(repository: Repository, tmp_path: Path) -> None:
    repository.config["tie_word_embeddings"] = True
    convert(repository.write(), tmp_path / "made.gguf")
    assert "output.weight" not in read(tmp_path / "made.gguf")[1]
    del repository.tensors["lm_head.weight"]
    del repository.config["tie_word_embeddings"]
    convert(repository.write(), tmp_path / "made.gguf")
    repository.config["tie_word_embeddings"] = False
    (tmp_path / "made.gguf").unlink()
    refused(repository, tmp_path / "made.gguf", "missing", "lm_head.weight")


def test_a_name_that_llama_cpp_treats_in_a_special_way(repository: Repository, tmp_path: Path) -> None:
    """llama.cpp looks up </s> and others in any model that is called phi-3, and fails where they are not."""
    convert(repository.write(), tmp_path / "made.gguf", name="My-Phi-3-like and phi3")
    name = read(tmp_path / "made.gguf")[0]["general.name"].lower()
    assert "phi 3" in name
    assert "phi-3" not in name
    assert "phi3" not in name


def test_an_unknown_architecture_names_what_is_supported(repository: Repository, tmp_path: Path) -> None:
    repository.config["architectures"] = ["MambaForCausalLM"]
    refused(repository, tmp_path / "x.gguf", "MambaForCausalLM", "Llama", "Mixtral", code="unsupported_architecture")
    assert supported({"architectures": ["MambaForCausalLM"]}) is None
    assert supported({"architectures": None}) is None
    assert supported({"architectures": [1, "CohereForCausalLM"]}).name == "command-r"


LAYER = "model.layers.1.mlp.up_proj.weight"


def test_missing_tensors_are_named(repository: Repository, tmp_path: Path) -> None:
    del repository.tensors[LAYER]
    refused(repository, tmp_path / "x.gguf", "missing", "blk.1.ffn_up.weight")


def test_superfluous_tensors_are_named(repository: Repository, tmp_path: Path) -> None:
    repository.tensors["model.layers.7.mlp.up_proj.weight"] = repository.tensors[LAYER]
    refused(repository, tmp_path / "x.gguf", "model.layers.7.mlp.up_proj.weight")
    del repository.tensors["model.layers.7.mlp.up_proj.weight"]
    repository.tensors["model.layers.1.self_attn.sinks"] = repository.tensors["model.norm.weight"]
    refused(repository, tmp_path / "x.gguf", "model.layers.1.self_attn.sinks")


def test_old_buffers_are_left_out(repository: Repository, tmp_path: Path) -> None:
    repository.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    convert(repository.write(), tmp_path / "made.gguf")


@pytest.mark.parametrize("shape", [(FFN, WIDTH + 1), (FFN - 1, WIDTH), (FFN * WIDTH,), (WIDTH, FFN), (0, WIDTH)])
def test_wrong_shapes_are_told(repository: Repository, tmp_path: Path, shape: tuple[int, ...]) -> None:
    repository.tensors[LAYER] = np.zeros(shape, np.float32)
    refused(repository, tmp_path / "x.gguf", LAYER, str(list(shape)), str([FFN, WIDTH]))


def test_a_permuted_tensor_of_another_shape_is_told(repository: Repository, tmp_path: Path) -> None:
    repository.tensors["model.layers.1.self_attn.q_proj.weight"] = np.zeros((WIDTH + 1, WIDTH), np.float32)
    refused(repository, tmp_path / "x.gguf", "blk.1.attn_q.weight")
    repository.tensors["model.layers.1.self_attn.q_proj.weight"] = np.zeros((WIDTH, WIDTH + 2), np.float32)
    refused(repository, tmp_path / "x.gguf", "model.layers.1.self_attn.q_proj.weight")


def test_wrong_types_are_told(repository: Repository, tmp_path: Path) -> None:
    repository.tensors[LAYER] = np.zeros((FFN, WIDTH), np.int64)
    refused(repository, tmp_path / "x.gguf", LAYER, "I64")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_values_that_are_not_numbers_are_told(repository: Repository, tmp_path: Path, value: float, dtype: str) -> None:
    spoilt = repository.tensors[LAYER].astype(dtype)
    spoilt[3, 5] = value
    repository.tensors[LAYER] = spoilt
    refused(repository, tmp_path / "x.gguf", "blk.1.ffn_up.weight", "finite")


def test_values_that_are_not_numbers_in_bf16_are_told(repository: Repository, tmp_path: Path) -> None:
    spoilt = np.zeros((FFN, WIDTH), np.uint16)
    spoilt[0, 0] = 0x7FC0
    repository.tensors[LAYER] = spoilt
    repository.dtypes[LAYER] = "BF16"
    refused(repository, tmp_path / "x.gguf", "blk.1.ffn_up.weight", "finite")


def test_values_too_large_for_f16_are_told(repository: Repository, tmp_path: Path) -> None:
    repository.tensors[LAYER][0, 0] = 1e5
    refused(repository, tmp_path / "x.gguf", "blk.1.ffn_up.weight", "bf16", outtype="f16")
    convert(repository.write(), tmp_path / "made.gguf", outtype="bf16")


def test_a_vocabulary_larger_than_the_embedding(repository: Repository, tmp_path: Path) -> None:
    assert repository.tokenizer is not None
    repository.tokenizer["added_tokens"].append({"id": VOCABULARY, "content": "<|extra|>", "special": True})
    refused(repository, tmp_path / "x.gguf", "<|extra|>", str(VOCABULARY))


def test_already_quantised_repositories_are_refused(repository: Repository, tmp_path: Path) -> None:
    repository.config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    refused(repository, tmp_path / "x.gguf", "gptq", code="unsupported_architecture")


def test_no_weights_and_no_configuration(repository: Repository, tmp_path: Path) -> None:
    folder = repository.write()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="no safetensors"):
        convert(folder, tmp_path / "x.gguf")
    (folder / "config.json").unlink()
    with pytest.raises(EngineError, match=r"config\.json"):
        convert(folder, tmp_path / "x.gguf")


def test_a_missing_shard_is_named(repository: Repository, tmp_path: Path) -> None:
    places = dict.fromkeys(repository.tensors, "model-00001-of-00002.safetensors")
    repository.files["model.safetensors.index.json"] = {"weight_map": places}
    refused(repository, tmp_path / "x.gguf", "model-00001-of-00002.safetensors")


def test_a_full_disk_is_said_before(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(repository, tmp_path / "x.gguf", "free", code="disk_full")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 10**12), ("hidden_size", -1), ("hidden_size", "64"), ("hidden_size", None),
        ("num_hidden_layers", 10**9), ("num_hidden_layers", 2.5), ("num_hidden_layers", True),
        ("num_attention_heads", 0), ("num_attention_heads", 5), ("num_key_value_heads", 3), ("vocab_size", 10**11),
        ("vocab_size", 0), ("max_position_embeddings", 10**15), ("rms_norm_eps", "small"), ("rms_norm_eps", 1e30),
        ("rope_theta", 0), ("rope_theta", -5.0), ("rope_scaling", [1]), ("rope_scaling", {"type": "llama3"}),
        ("rope_scaling", {"type": "warp", "factor": 2}), ("rope_scaling", {"type": "linear", "factor": 0}),
        ("rope_scaling", {"type": "longrope", "long_factor": [1], "short_factor": [1]}), ("head_dim", 7),
        ("hidden_act", "gelu"), ("intermediate_size", 65), ("text_config", {"hidden_size": 1}),
    ],
)  # fmt: skip
def test_absurd_numbers_are_named(repository: Repository, tmp_path: Path, key: str, value: Any) -> None:
    repository.config[key] = value
    unsupported = key == "hidden_act" or (isinstance(value, dict) and value.get("type") == "warp")
    refused(repository, tmp_path / "x.gguf", code="unsupported_architecture" if unsupported else "bad_weights")


ROPE_KEYS = st.sampled_from(["rope_type", "type", "factor", "rope_theta", "full_attention"])
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=3), st.dictionaries(ROPE_KEYS, st.integers() | st.text(max_size=8)),
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_spoilt_configuration_never_crashes(repository: Repository, tmp_path: Path, data: st.DataObject) -> None:
    folder = repository.write()
    config = dict(repository.config)
    keys = [
        *config,
        "rope_scaling",
        "rope_parameters",
        "text_config",
        "head_dim",
        "quantization_config",
        "sliding_window",
    ]
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3)):
        config[key] = data.draw(ODD)
    (folder / "config.json").write_text(json.dumps(config))
    try:
        convert(folder, tmp_path / "made.gguf")
    except EngineError:
        return
    read_header(tmp_path / "made.gguf")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_spoilt_tokenizer_never_crashes(repository: Repository, tmp_path: Path, data: st.DataObject) -> None:
    folder = repository.write()
    spoilt = json.loads(json.dumps(repository.tokenizer))
    node: Any = spoilt
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [
            one for one in (node.values() if isinstance(node, dict) else node) if isinstance(one, dict | list) and one
        ]
        if not inner:
            break
        node = data.draw(st.sampled_from(inner[:20]))
    place = data.draw(st.sampled_from(list(node)[:50] if isinstance(node, dict) else range(min(len(node), 50))))
    node[place] = data.draw(ODD)
    (folder / "tokenizer.json").write_text(json.dumps(spoilt))
    try:
        convert(folder, tmp_path / "made.gguf")
    except EngineError:
        return
    read_header(tmp_path / "made.gguf")


def test_the_language_model_inside_a_multimodal_one(repository: Repository, tmp_path: Path) -> None:
    convert(repository.write(), tmp_path / "plain.gguf", name="n")
    inner = {key: value for key, value in repository.config.items() if key != "architectures"} | {
        "model_type": "mistral"
    }
    repository.config = {
        "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "text_config": inner,
        "vision_config": {"hidden_size": 7}, "tie_word_embeddings": True,
    }  # fmt: skip
    names = {"lm_head.weight": "language_model.lm_head.weight"}
    repository.tensors = {
        names.get(name, f"language_model.{name}"): one for name, one in repository.tensors.items()
    } | {"vision_tower.patch_conv.weight": np.ones((2, 3, 4, 4), np.float32)}
    report = convert(repository.write(), tmp_path / "inner.gguf", name="n")
    assert (tmp_path / "inner.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()
    assert report.notes == ("1 tensors under vision_tower are left out: the GGUF file holds the language model only",)
