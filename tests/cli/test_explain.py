"""`freehold explain`: the gateway's own decision, made without calling anybody."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main

CONFIG = """
box: false
discover: false
providers:
  openai:
    api_key: sk-0123456789abcdef
    base_url: http://127.0.0.1:1/v1
    models:
      weak:   {context: 1000,   input: 0.1, output: 0.2, can: [tools], strength: 0.5}
      strong: {context: 100000, input: 5, output: 10, can: [tools, schema, images], strength: 0.9}
      odd:    {context: 100000, can: [tools], strength: 0.9}
  groq: {}
models:
  fast: [openai/weak, groq/llama, openai/strong]
  smart: {among: [openai/weak, openai/strong, openai/odd], objective: cheapest}
"""


@pytest.fixture(autouse=True)
def _config(home: Path) -> None:
    Path("freehold.yaml").write_text(CONFIG)


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def explain(*words: str) -> Result:
    return CliRunner().invoke(main, ["explain", *words])


def plan(*words: str) -> dict[str, Any]:
    result = explain(*words, "--json")
    assert result.stderr == "", result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_an_easy_prompt_goes_to_the_cheap_model() -> None:
    value = plan("hello", "--model", "smart")
    assert [attempt["deployment"] for attempt in value["attempts"]] == ["openai/weak", "openai/strong", "openai/odd"]
    assert value["kind"] == "auto"
    assert value["reason"] == "the cheapest that is good enough"
    assert value["words"][0] == "openai/weak by smart: the cheapest that is good enough"


def test_a_hard_prompt_goes_to_the_strong_model() -> None:
    question = "Find the degree of the field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.\nA. 0\nB. 4\nC. 2\nD. 6"
    value = plan(question, "--model", "smart")
    assert value["attempts"][0]["deployment"] == "openai/strong"
    assert "multiple choice" in value["signs"]
    weak = next(one for one in value["attempts"] if one["deployment"] == "openai/weak")
    assert weak["quality"] < value["attempts"][0]["quality"]
    assert "predicted below" in weak["note"]


def test_the_rules_may_come_from_the_request_and_its_key() -> None:
    value = plan("hello", "--model", "smart", "-H", "x-freehold-objective: best")
    assert value["attempts"][0]["deployment"] in ("openai/strong", "openai/odd")
    assert value["objective"] == "best"
    denied = explain("hello", "--model", "smart", "-H", "x-freehold-label: restricted")
    assert denied.exit_code == 1
    assert "the request is restricted" in denied.stdout
    unknown = explain("hello", "--key", "nobody-has-it")
    assert "no key named" in unknown.stderr


def test_the_expected_cost_is_arithmetic_and_an_unknown_one_is_none() -> None:
    value = plan("hello", "--model", "smart", "--max-tokens", "100")
    by_name = {attempt["deployment"]: attempt for attempt in value["attempts"]}
    expected = (value["input_tokens"] * 5 + 100 * 10) / 1e6  # less than an answer has as a rule
    assert by_name["openai/strong"]["expected_cost"] == pytest.approx(expected)
    assert by_name["openai/odd"]["expected_cost"] is None


def test_every_dropped_candidate_has_its_reason() -> None:
    value = plan("hello", "--model", "fast", "--images")
    assert [attempt["deployment"] for attempt in value["attempts"]] == ["openai/strong"]
    assert value["dropped"] == [
        {"deployment": "openai/weak", "reason": "cannot do images", "lasting": True},
        {"deployment": "groq/llama", "reason": "no key for Groq (set GROQ_API_KEY)", "lasting": False},
    ]


def test_a_long_prompt_drops_a_short_context() -> None:
    value = plan("word " * 2000, "--model", "fast")
    assert "context of 1000 tokens" in value["dropped"][0]["reason"]


@pytest.mark.parametrize(("option", "need"), [("--tools", "tools"), ("--schema", "schema"), ("--images", "images")])
def test_options_stand_for_what_a_request_needs(option: str, need: str) -> None:
    assert plan("hello", "--model", "openai/strong", option)["needs"] == [need]


def test_nobody_left_is_an_exit_status() -> None:
    result = explain("hello", "--model", "openai/weak", "--schema")
    assert result.exit_code == 1
    assert "cannot do schema" in result.stdout


def test_for_a_person() -> None:
    result = explain("hello", "--model", "smart")
    assert result.exit_code == 0, result.stderr
    assert "model       smart: chosen among 3 by cheapest" in result.stdout
    assert "unpriced" in result.stdout
    assert "were not looked for" in result.stderr


def test_the_prompt_may_be_piped() -> None:
    result = CliRunner().invoke(main, ["explain", "--model", "fast", "--json"], input="Prove it\n")
    assert json.loads(result.stdout)["input_tokens"] < 30


def test_an_unknown_model_gets_the_nearest() -> None:
    result = explain("hello", "--model", "smrt")
    assert result.exit_code == 1
    assert "hint: did you mean 'smart'?" in result.stderr


def test_no_prompt() -> None:
    assert explain().exit_code == 2


def test_a_broken_configuration_is_told_whole() -> None:
    Path("freehold.yaml").write_text("servr: {}\nretries: x\n")
    result = explain("hello")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 2


def test_it_decides_as_the_gateway_does() -> None:
    """The same catalog, facts and plan, from the same bytes: only what a request needs in addition is left out."""
    from freehold.classify import facts
    from freehold.cli.explain import _body
    from freehold.dialects import chat

    known = facts(chat.peek(_body("hello", "smart", True, True, True, 7)))
    assert known.needs == {"tools", "schema", "images"}
    assert known.output_tokens == 7


def test_what_is_found_in_a_prompt_is_shown_with_the_label_that_it_makes() -> None:
    result = explain("bill the card 4111 1111 1111 1111", "--model", "smart", "--json")
    value = json.loads(result.stdout)
    assert value["findings"] == ["credit_card=label"]
    assert value["label"] == "confidential+pci"
    assert value["attempts"] == []
    assert {drop["deployment"] for drop in value["dropped"]} == {"openai/weak", "openai/strong", "openai/odd"}
    shown = explain("hello", "--model", "smart").stdout
    assert "findings    none" in shown
    Path("freehold.yaml").write_text(CONFIG + "checks: {request: {credit_card: redact}}\n")
    value = plan("bill the card 4111 1111 1111 1111", "--model", "smart")
    assert (value["findings"], value["label"], len(value["attempts"])) == (["credit_card=redact"], "internal", 3)
    Path("freehold.yaml").write_text(CONFIG + "checks: {request: {credit_card: own}}\n")
    result = explain("bill the card 4111 1111 1111 1111", "--model", "smart", "--json")
    assert "owned models only" in json.loads(result.stdout)["dropped"][0]["reason"]
    Path("freehold.yaml").write_text(CONFIG + "checks: {request: {credit_card: block}}\n")
    blocked = explain("bill the card 4111 1111 1111 1111", "--model", "smart")
    assert blocked.exit_code == 1
    assert "credit_card" in blocked.stderr
