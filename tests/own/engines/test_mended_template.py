"""Templates that llama.cpp reads in a way of its own: Phi 3's, of which it would take `assistant|>` for the start of an
answer, and Command R's, of which it takes the end of a turn for text."""

import pytest
from jinja2 import Environment
from tiny_templates import template

from freehold.own.engines.llamacpp import mended_template, told_ends

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}, {"role": "user", "content": "hm"}]


def rendered(source: str) -> str:
    shown: str = Environment().from_string(source).render(messages=TURNS, add_generation_prompt=True, eos_token="<end>")
    return shown


def test_what_a_model_reads_stays_the_same() -> None:
    source = template("phi3")
    mended = mended_template(source)
    assert mended is not None
    assert rendered(mended) == rendered(source)
    assert "eos_token" not in mended


@pytest.mark.parametrize("source", [template("llama3"), template("qwen3"), "{{ eos_token }}", "", None, 5])
def test_others_are_left_as_they_are(source: object) -> None:
    assert mended_template(source) is None


def test_the_end_of_command_r_s_turns_is_told() -> None:
    assert told_ends(template("command_r")) == ["<|END_OF_TURN_TOKEN|>"]


@pytest.mark.parametrize("source", [template("llama3"), template("phi3"), "", None, 5])
def test_no_other_end_is_told(source: object) -> None:
    assert told_ends(source) == []
