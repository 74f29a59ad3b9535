"""Scripts: strict reading, matching in order, layers, conventions."""

import json
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import ConfigError
from freehold.fake import Call, FakeProvider, Reply, Script
from freehold.fake.ask import Request
from freehold.fake.engine import Engine
from freehold.fake.script import from_header, from_model, load, over


def say(engine: Engine, text: str = "hi", model: str = "m", path: str = "/v1/chat/completions", **headers: str) -> Any:
    """One chat completion without a socket: (status, text or error message)."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    prepared = engine.respond(Request(b"POST", path.encode(), fields, body, 0.0))
    first = next(iter(prepared.steps))
    assert isinstance(first, bytes)
    value = json.loads(first.partition(b"\r\n\r\n")[2])
    if "error" in value:
        return prepared.status, value["error"]["message"]
    return prepared.status, value["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ("rules: [{reply: {txt: a}}]", "rules[0].reply", "txt"),
        ("rules: [{match: {probability: 2}}]", "rules[0].match.probability", "2"),
        ("default: {fault: cut_mid}", "default", "cut_mid"),
        ("default: {status: 99}", "default", "99"),
        ("default: {latency_ms: -1}", "default", "latency_ms"),
        ("rules: [{reply: {events: 1000000000}}]", "rules[0].reply", "too many"),
        ("rules: 7", "rules", "array"),
        ("[", "", "YAML"),
        ("- a", "", "object"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, key: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert word in caught.value.message
    assert caught.value.where.startswith(str(file))
    assert caught.value.key.startswith(key)
    assert caught.value.hint


def test_yaml_json_and_objects_are_the_same(tmp_path: Path) -> None:
    value = {"seed": 3, "rules": [{"match": {"model": "a*"}, "reply": {"text": "x", "tool_calls": [{"name": "f"}]}}]}
    (tmp_path / "a.json").write_text(json.dumps(value))
    (tmp_path / "a.yaml").write_text(
        "seed: 3\nrules: [{match: {model: a*}, reply: {text: x, tool_calls: [{name: f}]}}]"
    )
    assert load(tmp_path / "a.json") == load(tmp_path / "a.yaml") == load(value) == load(load(value))
    assert load(None) == Script()
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_rules_are_tried_in_order_and_used_up() -> None:
    engine = Engine(
        load(
            {
                "rules": [
                    {"match": {"contains": "WEATHER"}, "reply": {"text": "rain"}},
                    {"match": {"model": "gpt-*"}, "times": 2, "reply": {"status": 503}},
                    {"match": {"header": "x-one: 1"}, "reply": {"text": "one"}},
                    {"match": {"header": "x-two"}, "reply": {"text": "two"}},
                    {"match": {"path": "/openai/*"}, "reply": {"text": "path"}},
                    {"match": {"dialect": "messages"}, "reply": {"text": "never"}},
                    {"match": {"nth": 2}, "reply": {"text": "second"}},
                    {"reply": {"text": "{model} {n}: {last_user}"}},
                ]
            }
        )
    )
    assert say(engine, "the weather?") == (200, "rain")
    assert [say(engine, model="gpt-4")[0] for _ in range(3)] == [503, 503, 200]
    assert say(engine, x_one="1") == (200, "one")
    assert say(engine, x_one="2", x_two="anything") == (200, "two")
    assert say(engine, path="/openai/v1/chat/completions") == (200, "path")
    assert say(engine) == (200, "second")
    assert say(engine, "{n}") == (200, "m 9: {n}")


def test_probability_follows_the_seed() -> None:
    script = load({"seed": 5, "rules": [{"match": {"probability": 0.3}, "reply": {"status": 500}}]})
    runs = [[say(engine)[0] for _ in range(200)] for engine in (Engine(script), Engine(script))]
    assert runs[0] == runs[1]
    assert 30 < runs[0].count(500) < 90


def test_layers_header_over_model_over_rule_over_default() -> None:
    engine = Engine(load({"default": {"text": "d", "finish": "length"}, "rules": [{"reply": {"text": "r"}}]}))
    assert say(engine) == (200, "r")
    assert say(engine, "you", model="fake-echo") == (200, "you")
    assert say(engine, model="fake-echo", x_fake="text=h") == (200, "h")
    assert over(Reply(text="a"), Reply(text="b", chunk=3)) == Reply(text="a", chunk=3)


def test_kept_responses_do_not_leak_between_requests() -> None:
    engine = Engine()
    assert [say(engine, text, model="fake-echo")[1] for text in ("ab", "cd", "ef")] == ["ab", "cd", "ef"]
    assert [say(engine, text, x_fake="text={last_user}")[1] for text in ("ab", "cd")] == ["ab", "cd"]
    assert [say(engine, x_fake="text=" + text)[1] for text in ("ab", "cd")] == ["ab", "cd"]
    engine.use(load({"default": {"text": "new"}}))
    assert say(engine) == (200, "new")


def test_the_common_request_is_composed_once() -> None:
    engine = Engine()
    body = b'{"model":"m","messages":[],"tools":null}'
    for path in (b"/v1/chat/completions", b"/v1/completions", b"/v1/messages", b"/v1/responses"):
        request = Request(b"POST", path, {}, body[:-1] + b',"prompt":"","input":"","max_tokens":1}', 0.0)
        assert engine.respond(request) is engine.respond(request)
    request = Request(b"POST", b"/v1beta/models/m:generateContent", {}, b'{"contents":[]}', 0.0)
    assert engine.respond(request) is engine.respond(request)


def test_the_header_is_strict() -> None:
    assert from_header("fault=bom; latency=50; text=a%3Bb; tool=; tool=f; burst=1; retry-after=2") == Reply(
        fault="bom",
        latency_ms=50,
        text="a;b",
        tool_calls=[Call(), Call(name="f")],
        burst=True,
        headers={"retry-after": "2"},
    )
    for bad in ("nonsense=1", "latency=soon", "status=7", "fault=none", "events=-1"):
        with pytest.raises(ConfigError):
            from_header(bad)
        assert say(Engine(), x_fake=bad)[0] == 400


def test_model_names() -> None:
    assert from_model("fake-status-429") == Reply(status=429)
    assert from_model("fake-fault-stall-mid-stream") == Reply(fault="stall_mid_stream")
    assert from_model("fake-events-65+event-5") == Reply(events=65, event_ms=5)
    assert from_model("fake-tools").tool_calls == [Call()]
    assert from_model("fake-small") == from_model("fake") == Reply()
    assert say(Engine(), model="fake-status-418")[0] == 418
    assert say(Engine(), model="fake-events-none")[0] == 400


async def test_a_script_can_be_swapped_while_running() -> None:
    async with FakeProvider({"rules": [{"reply": {"text": "a"}}]}) as fake:
        assert say(fake.engine) == (200, "a")
        fake.script = {"rules": [{"reply": {"text": "b"}}]}  # type: ignore[assignment]
        assert say(fake.engine) == (200, "b")
        with pytest.raises(ConfigError):
            fake.script = {"rule": []}  # type: ignore[assignment]
        assert say(fake.engine) == (200, "b")
