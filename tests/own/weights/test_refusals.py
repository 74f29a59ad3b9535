"""Code that a repository brings: refused unless a person allowed it; left behind where it is not needed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import EngineError
from freehold.own.weights.refusals import BUILT_IN, foreign_code, refuse_remote_code

DEEPSEEK = {
    "model_type": "deepseek_v3",
    "auto_map": {
        "AutoConfig": "configuration_deepseek.DeepseekV3Config",
        "AutoModel": "modeling_deepseek.DeepseekV3Model",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM",
    },
}
EVIL = {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"}}


def test_an_ordinary_repository() -> None:
    assert foreign_code(["config.json", "model.safetensors"], {"config.json": {"model_type": "llama"}}) == []


def test_code_that_transformers_has_itself_is_left_behind() -> None:
    names = ["config.json", "configuration_deepseek.py", "modeling_deepseek.py", "inference/generate.py"]
    assert foreign_code(names, {"config.json": DEEPSEEK}) == []


@pytest.mark.parametrize(
    ("names", "configs", "code"),
    [
        (["modeling_evil.py"], {"config.json": EVIL}, ["modeling_evil.py (EvilForCausalLM)"]),
        ([], {"config.json": EVIL}, ["modeling_evil.py (EvilForCausalLM)"]),
        (["modeling_evil.py"], {"config.json": {"model_type": "llama"}}, ["modeling_evil.py"]),
        (["tokenization_x.py"], {}, ["tokenization_x.py"]),
        ([], {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}}},
         ["tokenization_x.py (XTokenizer)"]),
        ([], {"config.json": {"model_type": "llama", "auto_map": {"AutoModel": "other/repo--m.LlamaEvil"}}},
         ["m.py (LlamaEvil)"]),
        ([], {"config.json": {"auto_map": "x"}}, ["?.py (?)"]),
        ([], {"config.json": {"auto_map": {"AutoModel": 1}}}, ["?.py (?)"]),
        ([], {"config.json": {"model_type": ["llama"], "auto_map": {"A": "m.LlamaModel"}}}, ["m.py (LlamaModel)"]),
    ],
)  # fmt: skip
def test_anything_else_is_foreign(names: list[str], configs: dict[str, Any], code: list[str]) -> None:
    assert foreign_code(names, configs) == code
    with pytest.raises(EngineError) as caught:
        refuse_remote_code("org/name", names, configs, allowed=False)
    assert caught.value.code == "remote_code_refused"
    assert "remote_code: true" in (caught.value.hint or "")
    refuse_remote_code("org/name", names, configs, allowed=True)


def test_the_override_is_named() -> None:
    with pytest.raises(EngineError) as caught:
        refuse_remote_code("x", [], {"config.json": EVIL}, allowed=False, override="freehold pull x --remote-code")
    assert caught.value.hint == "freehold pull x --remote-code"


def test_the_built_in_names_are_those_of_transformers() -> None:
    auto = pytest.importorskip("transformers.models.auto.configuration_auto", reason="transformers is not installed")
    for model_type, prefix in BUILT_IN.items():
        assert auto.CONFIG_MAPPING_NAMES[model_type] in (f"{prefix}Config", f"{prefix}TextConfig")


ANYTHING = st.recursive(
    st.none() | st.text(max_size=9) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["auto_map", "model_type"]), ANYTHING))
def test_whatever_stands_in_a_configuration(config: dict[str, Any]) -> None:
    assert isinstance(foreign_code(["a.py"], {"config.json": config}), list)
