"""Every model family, tiny: a Hugging Face repository folder from the family's own transformers configuration class.

    make("qwen3", folder) -> Path      config.json, model.safetensors, tokenizer.json, tokenizer_config.json,
                                       generation_config.json, chat_template.jinja

Under a megabyte, the same bytes on every call with the same versions. Weights are random, but not as a fresh model's:
matrices keep the size of what passes through them, norms and biases are away from 1 and 0, and the output layer is
large, so the model has an opinion: greedy decoding has clear margins, and any tensor left out, transposed or permuted
wrongly changes what it says.

`layout` says who wrote the folder: "transformers" is what save_pretrained of the installed version writes, "hub" is
what stands on the hub: rope_theta and rope_scaling in config.json, torch_dtype, the chat template inside
tokenizer_config.json, gpt-oss experts in MXFP4 when asked for with dtype "mxfp4".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tiny_templates import template
from tiny_tokenizers import Tokens, build

HIDDEN = 64
Dtype = Literal["float32", "bfloat16", "float16", "mxfp4"]
Layout = Literal["transformers", "hub"]


class Family(NamedTuple):
    """`config` goes to the configuration class of `model_type`; token names in it become ids."""

    model_type: str
    config: Mapping[str, Any]
    tokens: Tokens
    template: str | None
    eos: tuple[str, ...] = ()
    """What generation_config.json ends on, where that is more than the tokenizer's own end."""
    name: str = ""
    """Name of the repository, where llama.cpp reads something from it."""


def _base(layers: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": layers, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": False,
    } | more  # fmt: skip


def _rope(theta: float = 10000.0, kind: str = "default", **more: Any) -> dict[str, Any]:
    return {"rope_theta": theta, "rope_type": kind, **more}


LLAMA3_TOKENS = Tokens(
    "llama3",
    ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>", "<|end_header_id|>",
     "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
    bos="<|begin_of_text|>", eos="<|eot_id|>", head="<|begin_of_text|>", pad="<|finetune_right_pad_id|>",
)  # fmt: skip
LLAMA4_TOKENS = Tokens(
    "o200k",
    ("<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>",
     "<|python_start|>", "<|python_end|>", "<|finetune_right_pad|>"),
    bos="<|begin_of_text|>", eos="<|eot|>", head="<|begin_of_text|>", pad="<|finetune_right_pad|>",
)  # fmt: skip
MISTRAL_TOKENS = Tokens(
    "spm",
    ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
     "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    bos="<s>", eos="</s>", head="<s>", unk="<unk>", at_end=False,
)  # fmt: skip
MIXTRAL_TOKENS = Tokens(
    "spm-legacy", ("<unk>", "<s>", "</s>"), bos="<s>", eos="</s>", head="<s>", unk="<unk>", at_end=False
)
QWEN2_TOKENS = Tokens(
    "qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), bos=None, eos="<|im_end|>", pad="<|endoftext|>",
    plain=("<tool_call>", "</tool_call>"),
)  # fmt: skip
QWEN3_TOKENS = QWEN2_TOKENS._replace(
    plain=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
)
DEEPSEEK2_TOKENS = Tokens(
    "deepseek2", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"), bos="<｜begin▁of▁sentence｜>",
    eos="<｜end▁of▁sentence｜>", head="<｜begin▁of▁sentence｜>", pad="<｜end▁of▁sentence｜>",
)  # fmt: skip
DEEPSEEK3_TOKENS = Tokens(
    "deepseek3",
    ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"),
    bos="<｜begin▁of▁sentence｜>", eos="<｜end▁of▁sentence｜>", head="<｜begin▁of▁sentence｜>", pad="<｜▁pad▁｜>",
    plain=("<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
           "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>",
           "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<think>", "</think>"),
    at_end=False,
)  # fmt: skip
GEMMA_TOKENS = Tokens(
    "gemma", ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"),
    bos="<bos>", eos="<eos>", head="<bos>", unk="<unk>", pad="<pad>", at_end=False,
)  # fmt: skip
FALCON_TOKENS = Tokens(
    "falcon",
    (">>TITLE<<", ">>ABSTRACT<<", ">>INTRODUCTION<<", ">>SUMMARY<<", ">>COMMENT<<", ">>ANSWER<<", ">>QUESTION<<",
     ">>DOMAIN<<", ">>PREFIX<<", ">>SUFFIX<<", ">>MIDDLE<<", "<|endoftext|>"),
    bos=None, eos="<|endoftext|>", at_end=False,
)  # fmt: skip
COMMAND_R_TOKENS = Tokens(
    "command-r",
    ("<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK_TOKEN>", "<BOS_TOKEN>", "<EOS_TOKEN>", "<EOP_TOKEN>",
     "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
    bos="<BOS_TOKEN>", eos="<|END_OF_TURN_TOKEN|>", head="<BOS_TOKEN>", pad="<PAD>", at_end=False,
)  # fmt: skip
GPT_OSS_TOKENS = Tokens(
    "o200k",
    ("<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>",
     "<|message|>", "<|call|>"),
    bos="<|startoftext|>", eos="<|return|>", pad="<|endoftext|>",
)  # fmt: skip
_PHI3_MARKS = ("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
PHI3_TOKENS = Tokens(
    "spm-legacy", ("<unk>", "<s>", "</s>", "<|endoftext|>", *_PHI3_MARKS), bos="<s>", eos="<|endoftext|>",
    unk="<unk>", pad="<|endoftext|>", at_end=False, rstrip=("</s>", *_PHI3_MARKS),
)  # fmt: skip
PHI2_TOKENS = Tokens("gpt2", ("<|endoftext|>",), bos="<|endoftext|>", eos="<|endoftext|>")

_QWEN_MOE = {
    "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1,
}  # fmt: skip
_MLA = {
    "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "v_head_dim": 32, "moe_intermediate_size": 32, "n_shared_experts": 1, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "first_k_dense_replace": 1, "intermediate_size": 64,
}  # fmt: skip
_DEEPSEEK3 = {
    **_MLA, "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": True,
    "max_position_embeddings": 640, "num_nextn_predict_layers": 0,
    "rope_parameters": _rope(
        10000.0, "yarn", factor=40.0, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0,
        original_max_position_embeddings=16,
    ),
}  # fmt: skip

FAMILIES: dict[str, Family] = {
    "llama3": Family(
        "llama",
        _base(
            rms_norm_eps=1e-5,
            rope_parameters=_rope(
                500000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        LLAMA3_TOKENS, template("llama3"), ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    ),
    "llama4": Family(
        "llama4_text",
        _base(
            4, intermediate_size=32, intermediate_size_mlp=64, head_dim=16, num_local_experts=4,
            num_experts_per_tok=1, interleave_moe_layer_step=2, use_qk_norm=True, rms_norm_eps=1e-5,
            rope_parameters=_rope(500000.0), attention_chunk_size=8192,
        ),
        LLAMA4_TOKENS, template("llama4"), ("<|end_of_text|>", "<|eom|>", "<|eot|>"),
    ),
    "mistral": Family(
        "mistral", _base(rope_parameters=_rope(1000000.0), sliding_window=None, head_dim=16, rms_norm_eps=1e-5),
        MISTRAL_TOKENS, template("mistral"),
    ),
    "mixtral": Family(
        "mixtral",
        _base(intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, rope_parameters=_rope(1000000.0)),
        MIXTRAL_TOKENS, template("mixtral"),
    ),
    "qwen2": Family(
        "qwen2", _base(rope_parameters=_rope(1000000.0), tie_word_embeddings=True), QWEN2_TOKENS, template("qwen2"),
        ("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen2_moe": Family(
        "qwen2_moe",
        _base(**_QWEN_MOE, shared_expert_intermediate_size=64, norm_topk_prob=False, rope_parameters=_rope(1000000.0)),
        QWEN2_TOKENS, template("qwen2"), ("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3": Family(
        "qwen3", _base(head_dim=32, rope_parameters=_rope(1000000.0), tie_word_embeddings=True), QWEN3_TOKENS,
        template("qwen3"), ("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3_moe": Family(
        "qwen3_moe", _base(**_QWEN_MOE, head_dim=16, norm_topk_prob=True, rope_parameters=_rope(1000000.0)),
        QWEN3_TOKENS, template("qwen3"), ("<|im_end|>", "<|endoftext|>"),
    ),
    "deepseek_v2": Family(
        "deepseek_v2",
        _base(**{**_MLA, "routed_scaling_factor": 16.0, "topk_method": "greedy", "norm_topk_prob": False},
              rope_parameters=_rope()),
        DEEPSEEK2_TOKENS, template("deepseek2"),
    ),
    "deepseek_v3": Family("deepseek_v3", _base(**_DEEPSEEK3), DEEPSEEK3_TOKENS, template("deepseek3")),
    "deepseek_r1": Family("deepseek_v3", _base(**_DEEPSEEK3), DEEPSEEK3_TOKENS, template("deepseek_r1")),
    "gemma2": Family(
        "gemma2",
        _base(4, head_dim=16, query_pre_attn_scalar=16, sliding_window=16, tie_word_embeddings=True,
              rope_parameters=_rope()),
        GEMMA_TOKENS, template("gemma2"), ("<eos>", "<end_of_turn>"),
    ),
    "gemma3": Family(
        "gemma3_text",
        _base(6, head_dim=16, query_pre_attn_scalar=16, sliding_window=16, tie_word_embeddings=True,
              rope_parameters={"sliding_attention": _rope(), "full_attention": _rope(1000000.0, "linear", factor=8.0)}),
        GEMMA_TOKENS, template("gemma3"), ("<eos>", "<end_of_turn>"),
    ),
    "falcon": Family(
        "falcon",
        {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512,
         "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False, "bias": False, "alibi": False,
         "tie_word_embeddings": True, "ffn_hidden_size": 256, "num_kv_heads": 1},
        FALCON_TOKENS, template("falcon"),
    ),
    "falcon_40b": Family(
        "falcon",
        {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512,
         "multi_query": True, "parallel_attn": True, "new_decoder_architecture": True, "bias": False, "alibi": False,
         "tie_word_embeddings": True, "ffn_hidden_size": 256, "num_kv_heads": 2},
        FALCON_TOKENS, template("falcon"),
    ),
    "command_r": Family(
        "cohere",
        _base(num_key_value_heads=4, logit_scale=0.5, use_qk_norm=False, tie_word_embeddings=True,
              rope_parameters=_rope(8000000.0)),
        COMMAND_R_TOKENS, template("command_r"),
    ),
    "command_r7b": Family(
        "cohere2",
        _base(4, logit_scale=0.5, sliding_window=16, head_dim=16, tie_word_embeddings=True,
              rope_parameters=_rope(50000.0)),
        COMMAND_R_TOKENS, template("command_r"),
    ),
    "gpt_oss": Family(
        "gpt_oss",
        _base(intermediate_size=32, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=16,
              rope_parameters=_rope(150000.0, "yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                                    original_max_position_embeddings=16)),
        GPT_OSS_TOKENS, template("gpt_oss"), ("<|return|>", "<|endoftext|>", "<|call|>"),
    ),
    "phi3": Family(
        "phi3", _base(num_key_value_heads=4, original_max_position_embeddings=512, rope_parameters=_rope()),
        PHI3_TOKENS, template("phi3"), ("<|endoftext|>", "<|end|>"), "Phi-3-tiny-instruct",
    ),
    "phi2": Family(
        "phi", _base(num_key_value_heads=4, rope_parameters=_rope(partial_rotary_factor=0.5)), PHI2_TOKENS, None
    ),
}  # fmt: skip
"""The names a person knows: `phi2` is model type phi, `command_r7b` is cohere2, `gemma3` the text model."""


def make(
    family: str,
    folder: Path,
    *,
    dtype: Dtype = "float32",
    layout: Layout = "transformers",
    shards: bool = False,
    tokenizer: str | None = None,
    seed: int = 0,
    calm: bool = False,
    **changes: Any,
) -> Path:
    """Writes the repository of one family to `folder` and returns it.

    `shards` splits the weights over several files with an index. `tokenizer` takes that kind (tiny_tokenizers.py)
    instead of the family's own; `changes` go to the configuration. A `calm` model has weaker opinions and loses less
    when it is quantised.
    """
    import torch
    from transformers import AutoModelForCausalLM

    known = FAMILIES[family]
    tokens = known.tokens if tokenizer is None else known.tokens._replace(kind=tokenizer)
    words = build(tokens)
    config = _config(known, tokens, words, changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        scale(model, seed, calm=calm)
        model = model.to(torch.bfloat16 if dtype == "mxfp4" else getattr(torch, dtype))
        model.generation_config = _generation(known, tokens, words)
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, max_shard_size="200KB" if shards else "1GB")
    finally:
        torch.set_num_threads(threads)
    _save_tokenizer(known, tokens, words, folder, config.max_position_embeddings, layout)
    if layout == "hub" or dtype == "mxfp4":
        _as_published(folder, "bfloat16" if dtype == "mxfp4" else dtype)
    if dtype == "mxfp4":
        from tiny_mxfp4 import quantise_experts

        quantise_experts(folder)
    return folder


def _config(known: Family, tokens: Tokens, words: Any, changes: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    ids = {"bos_token_id": tokens.bos, "eos_token_id": tokens.eos, "pad_token_id": tokens.pad}
    ends = [words.token_to_id(name) for name in known.eos]
    return AutoConfig.for_model(
        known.model_type,
        **{
            "vocab_size": words.get_vocab_size(),
            **{key: None if name is None else words.token_to_id(name) for key, name in ids.items()},
            **({"eos_token_id": ends} if known.model_type in ("llama", "llama4_text") else {}),
            **known.config,
            **changes,
        },
    )


def _generation(known: Family, tokens: Tokens, words: Any) -> Any:
    from transformers import GenerationConfig

    ends = [words.token_to_id(name) for name in known.eos] or words.token_to_id(tokens.eos)
    begin = None if tokens.bos is None else words.token_to_id(tokens.bos)
    return GenerationConfig(bos_token_id=begin, eos_token_id=ends, pad_token_id=None)


def scale(model: Any, seed: int, *, calm: bool = False) -> None:
    """Fills every parameter and buffer of weights, reproducibly; see the module's docstring."""
    import torch

    random = torch.Generator().manual_seed(seed)
    config = model.config
    around_zero = config.model_type.startswith("gemma")
    tied = config.tie_word_embeddings
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in sorted(state):
            weight = state[name]
            noise = torch.randn(weight.shape, generator=random, dtype=torch.float32)
            if name.endswith(("inv_freq", "original_inv_freq")):
                continue
            if "embed_tokens" in name or "word_embeddings" in name:
                value = noise * (0.3 if around_zero else 0.6 if tied else 1.0)
            elif "lm_head" in name and weight.ndim == 2:
                value = noise * ((2 if calm else 4) / math.sqrt(HIDDEN))
            elif weight.ndim >= 2 and not name.endswith("bias"):
                value = noise * ((0.5 if calm else 1.5) / math.sqrt(_fan_in(name, weight)))
            elif name.endswith("weight"):
                loud = around_zero and ("post_attention" in name or "post_feedforward" in name)
                value = (2.0 if loud else 0.0 if around_zero else 1.0) + 0.2 * noise
            elif name.endswith("sinks"):
                value = noise
            else:
                value = 0.2 * noise
            weight.copy_(value)


def _fan_in(name: str, weight: Any) -> int:
    """gpt-oss and Llama 4 keep experts as (expert, in, out), everybody else as (.., out, in)."""
    size: int = weight.shape[-1]
    if weight.ndim == 3 and name.endswith(("gate_up_proj", "down_proj")):
        return min(weight.shape[-2:]) if name.endswith("down_proj") else HIDDEN
    return size


def _save_tokenizer(known: Family, tokens: Tokens, words: Any, folder: Path, longest: int, layout: Layout) -> None:
    from transformers import PreTrainedTokenizerFast

    saved = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=tokens.bos, eos_token=tokens.eos, unk_token=tokens.unk, pad_token=tokens.pad,
        model_max_length=longest, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    saved.chat_template = known.template
    saved.save_pretrained(folder)
    if known.name or layout == "hub":
        path = folder / "tokenizer_config.json"
        facts = json.loads(path.read_text())
        if layout == "hub" and known.template:
            (folder / "chat_template.jinja").unlink()
            facts["chat_template"] = known.template
            facts["tokenizer_class"] = "PreTrainedTokenizerFast"
            facts.pop("backend", None)
        path.write_text(json.dumps(facts, indent=2, ensure_ascii=False))
    if known.name:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"_name_or_path": known.name}, indent=2))


def _as_published(folder: Path, dtype: str) -> None:
    """Rewrites config.json as it was written before transformers 5."""
    path = folder / "config.json"
    facts = json.loads(path.read_text())
    rope = facts.pop("rope_parameters", None)
    if rope and "full_attention" in rope:
        whole = dict(rope["full_attention"])
        facts["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = whole
    if rope:
        rope = dict(rope)
        facts["rope_theta"] = rope.pop("rope_theta", 10000.0)
        if "partial_rotary_factor" in rope:
            facts["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        facts["rope_scaling"] = rope if rope.get("rope_type") not in (None, "default") else None
    facts.pop("dtype", None)
    facts["torch_dtype"] = dtype
    facts["transformers_version"] = "4.51.0"
    path.write_text(json.dumps(facts, indent=2))
