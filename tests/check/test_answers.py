"""An answer against its request: each check of a cascade, what it doubts, and what doubt says of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check import Verdict, judge
from freehold.check.answers import CHECKS, MOST_REASON, refuses
from freehold.config.schema_routing import Cascade
from freehold.dialects.conversation import (
    Choice,
    Conversation,
    Document,
    Finish,
    Image,
    OutputFormat,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "total": {"type": "number"}, "kind": {"enum": ["bill", "order"]}},
    "required": ["name"],
}
WEATHER = Tool("weather", schema={"properties": {"city": {"type": "string"}}, "required": ["city"]})


def asked(text: str = "Bill for Anna Berg, 1,234.50 EUR", **more: Any) -> Conversation:
    return Conversation("m", turns=[Turn("user", [Text(text)])], **more)


def answered(*parts: Part | str, finish: Finish = "stop", **more: Any) -> Reply:
    return Reply("r", "m", [Choice([Text(part) if isinstance(part, str) else part for part in parts], finish, **more)])


def verdict(check: str, request: Conversation, reply: Reply, **rule: Any) -> Verdict:
    return judge(request, reply, Cascade(checks=[check], **rule))  # type: ignore[list-item]


def call(arguments: str = '{"city": "Oslo"}', name: str = "weather") -> ToolCall:
    return ToolCall("c", name, arguments)


# complete


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answered("Hello"), ""),
        (answered(call(), finish="tool_calls"), ""),
        (answered(Image(data="x", media_type="image/png")), ""),
        (answered(Thinking("well"), "Hello"), ""),
        (answered("Hel", finish="length"), "it was cut off at its length limit"),
        (answered("x", finish="content_filter"), "a filter stopped it"),
        (answered("x", finish="pause"), "it paused and wants to go on"),
        (answered("x", finish="error"), "it ended in an error"),
        (answered(), "it is empty"),
        (answered("  \n"), "it is empty"),
        (answered(Thinking("only this")), "it is empty"),
        (answered(Refusal("no")), "it is a refusal"),
        (answered("no", refused=True), "it is a refusal"),
        (answered("I'm sorry, but I can't help with that."), "it reads like a refusal"),
        (Reply("r", "m"), "there is no answer"),
    ],
)
def test_complete(reply: Reply, reason: str) -> None:
    found = verdict("complete", asked(), reply)
    assert (found.passed, found.reason) == (not reason, reason)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot assist with that request.",
        "I\u2019m sorry, I can\u2019t do that.",
        "Sorry, but I am unable to help.",
        "As an AI language model, I do not have access to that.",
        "Unfortunately, I won't do this.",
    ],
)
def test_refusals_in_words(text: str) -> None:
    assert refuses(text)
    assert not refuses(text + " But here is what I can say about it: " + "word " * 100), "it goes on to help"


@pytest.mark.parametrize(
    "text",
    [
        "The capital is Oslo.",
        "Sorry for the wait! Your card is on its way.",
        "Unfortunately, we cannot refund this order.",
        "She said: I cannot come.",
        '{"intent": "I cannot log in"}',
    ],
)
def test_what_is_no_refusal(text: str) -> None:
    assert not refuses(text)


# schema


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "Anna"}', ""),
        ('  {"name": "Anna", "total": 2}\n', ""),
        ('```json\n{"name": "Anna"}\n```', "it is no JSON"),
        ('{"name": "Anna"', "it is no JSON"),
        ('{"total": 2}', "$ has no name"),
        ('{"name": 7}', "$.name is an integer, not a string"),
        ("[" * 5000, "it is no JSON"),
    ],
)
def test_schema_of_the_output(text: str, reason: str) -> None:
    request = asked(output=OutputFormat("schema", SCHEMA))
    assert verdict("schema", request, answered(text)).reason == reason


def test_json_mode_wants_an_object() -> None:
    request = asked(output=OutputFormat("json"))
    assert verdict("schema", request, answered("{}")).passed
    assert verdict("schema", request, answered("[1]")).reason == "it is no JSON object"


def test_a_plain_text_has_no_schema() -> None:
    assert verdict("schema", asked(), answered("Hello")).passed
    assert verdict("schema", asked(output=OutputFormat("text")), answered("Hello")).passed


def test_a_schema_that_nobody_understands_is_doubt() -> None:
    request = asked(output=OutputFormat("schema", {"$ref": "https://example.com/x"}))
    found = verdict("schema", request, answered("{}"))
    assert not found.passed
    assert found.words == "doubt: schema: cannot be made: the schema refers to another document"


@pytest.mark.parametrize(
    ("calls", "choice", "reason"),
    [
        ([call()], None, ""),
        ([call("")], None, "the arguments of weather: $ has no city"),
        ([call('{"city": 3}')], None, "the arguments of weather: $.city is an integer, not a string"),
        ([call('{"city": "O')], None, "the arguments of weather are no JSON"),
        ([call("[]")], None, "the arguments of weather: $ is an array, not an object"),
        ([call(name="rm -rf")], None, "call 1 is of a tool that was not offered"),
        ([], ToolChoice("auto"), ""),
        ([], ToolChoice("required"), "no tool is called where a call was asked for"),
        ([], ToolChoice("tool", "weather"), "the tool that was asked for is not called"),
        ([call()], ToolChoice("tool", "weather"), ""),
        ([call()], ToolChoice("none"), "a tool is called where none was allowed"),
        ([call()], ToolChoice("required", names=["other"]), "a tool is called that was not among those allowed"),
    ],
)
def test_schema_of_tools(calls: list[ToolCall], choice: ToolChoice | None, reason: str) -> None:
    request = asked(tools=[WEATHER], tool_choice=choice)
    reply = answered(*calls, finish="tool_calls") if calls else answered("Sunny.")
    assert verdict("schema", request, reply).reason == reason


def test_parallel_calls() -> None:
    reply = answered(call(), call(), finish="tool_calls")
    assert verdict("schema", asked(tools=[WEATHER]), reply).passed
    assert not verdict("schema", asked(tools=[WEATHER], parallel_tools=False), reply).passed


def test_free_text_of_custom_tools_is_no_json() -> None:
    request = asked(tools=[Tool("run", schema={"required": ["input"]})])
    assert verdict("schema", request, answered(ToolCall("c", "run", "ls -l", custom=True), finish="tool_calls")).passed


# json


def test_json_wants_json_whatever_was_asked() -> None:
    assert verdict("json", asked(), answered("[1, 2]")).passed
    assert verdict("json", asked(), answered("two")).reason == "it is no JSON"
    assert verdict("json", asked(), answered(call(), finish="tool_calls")).passed
    assert not verdict("json", asked(), answered(call("{"), finish="tool_calls")).passed


# logprobs


def tokens(*values: float) -> dict[str, Any]:
    return {
        "content": [
            {"token": "a", "logprob": v, "top_logprobs": [{"token": "a", "logprob": v}, {"token": "b", "logprob": -3}]}
            for v in values
        ]
    }


def test_the_least_sure_token_decides_a_short_answer() -> None:
    assert verdict("logprobs", asked(), answered("x", logprobs=tokens(-0.1, -0.2))).passed
    found = verdict("logprobs", asked(), answered("x", logprobs=tokens(-0.1, -2.6)))
    assert found.reason == "log-probability -2.60 at its least sure tokens is below -2.5, margin 0.40"
    assert verdict("logprobs", asked(), answered("x", logprobs=tokens(-0.1, -2.6)), logprob=-3.0).passed


@pytest.mark.parametrize("given", [None, {}, {"content": []}, {"content": [{"token": "a"}]}, tokens(float("nan")), 7])
def test_no_log_probabilities_is_doubt(given: Any) -> None:
    assert verdict("logprobs", asked(), answered("x", logprobs=given)).reason == "the model gave no log-probabilities"


# extract


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "Anna Berg", "total": 1234.5}', ""),
        ('{"name": "ANNA  BERG", "kind": "order"}', ""),
        ('{"name": "Anna", "paid": true, "note": null, "x": ""}', ""),
        ('{"name": "Ann"}', "$.0 is not in the request".replace(".0", "{0}")),
        ('{"name": "Anna Berg", "total": 1234}', "${1} is not in the request"),
        ('{"name": "Anna", "lines": [{"sum": 9}]}', "${1}[0]{0} is not in the request"),
        ("Anna Berg", "it is no JSON"),
    ],
)
def test_extract(text: str, reason: str) -> None:
    request = asked(output=OutputFormat("schema", SCHEMA))
    assert verdict("extract", request, answered(text)).reason == reason


def test_extract_reads_documents_and_results_but_not_earlier_answers() -> None:
    request = Conversation(
        "m",
        system=[Text("Today is 2 May.")],
        turns=[
            Turn("assistant", [Text("Perhaps it is Mallory.")]),
            Turn("user", [Document(text="Invoice of Example Ltd"), ToolResult("c", [Text("42 units")])]),
        ],
    )
    assert verdict("extract", request, answered('{"by": "example ltd", "n": 42, "day": 2}')).passed
    assert not verdict("extract", request, answered('{"by": "Mallory"}')).passed


def test_extract_looks_into_calls() -> None:
    request = asked("weather in Oslo?", tools=[WEATHER])
    assert verdict("extract", request, answered(call(), finish="tool_calls")).passed
    assert not verdict("extract", request, answered(call('{"city": "Bergen"}'), finish="tool_calls")).passed


# All of them


def test_the_first_doubt_ends_it_and_is_named() -> None:
    request = asked(output=OutputFormat("schema", SCHEMA))
    found = judge(request, answered("{", finish="length"), Cascade(checks=["schema", "complete"]))
    assert (found.passed, found.check) == (False, "complete")
    found = judge(request, answered('{"name": "Anna"}'), Cascade(checks=["schema", "complete", "extract"]))
    assert found.words == "passed complete, schema, extract"


def test_every_choice_must_pass() -> None:
    reply = answered("Hello")
    reply.choices.append(Choice([], index=1))
    assert verdict("complete", asked(n=2), reply).reason == "it is empty"


def test_a_check_that_raises_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("SECRET")

    monkeypatch.setitem(CHECKS, "json", broken)  # type: ignore[arg-type]
    found = verdict("json", asked(), answered("{}"))
    assert found.words == "doubt: json: failed (ZeroDivisionError)"


@given(st.text(), st.sampled_from(["complete", "json", "schema", "logprobs", "extract"]))
def test_reasons_are_one_line_of_ascii_and_nothing_raises(text: str, check: str) -> None:
    request = asked(text, output=OutputFormat("schema", {"properties": {text: {"const": 1}}, "required": [text]}))
    found = verdict(check, request, answered(text))
    assert len(found.words) <= MOST_REASON
    assert found.words.isascii()
    assert found.words.isprintable()
    assert found.passed or found.reason
