"""Sound, pictures and custom tools in the chat dialect, and OpenAI's optional fields."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from freehold.dialects import chat, completions, messages
from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Choice,
    Conversation,
    Document,
    Event,
    Finished,
    Image,
    MediaDelta,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Reply,
    Started,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolChoice,
    ToolDelta,
    ToolResult,
    ToolStarted,
    Turn,
    Voice,
)
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest

SOUND = {"id": "audio_1", "data": "UklGRgAA", "transcript": "hello", "expires_at": 9}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0}
REMOTE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}, "index": 1}
OPENAI = Traits(extras=("verbosity", "store", "prompt_cache_key", "safety_identifier", "service_tier"))


def answer(**message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return json.dumps({"id": "i", "model": "m", "choices": [choice]}).encode()


def read(**message: Any) -> list[Any]:
    return chat.read_reply(answer(content=None, **message)).choices[0].parts


def write(*parts: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = chat.write_reply(Reply("i", "m", [Choice(list(parts))]), losses, 7)
    ChatCompletion.model_validate_json(body)
    message: dict[str, Any] = json.loads(body)["choices"][0]["message"]
    return message, losses


def stream(*deltas: dict[str, Any]) -> list[Event]:
    reader = chat.StreamReader()
    found: list[Event] = []
    for delta in deltas:
        chunk = {"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta}]}
        found += reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    return found[1:]


def rendered(*events: Event) -> tuple[list[dict[str, Any]], chat.StreamWriter]:
    writer = chat.StreamWriter("i", "m", 1)
    out = b"".join(writer.write(event) for event in (Started("i", "m"), *events)) + writer.close()
    lines = [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: {")]
    return [choice["delta"] for line in lines for choice in line["choices"]], writer


# Sound


def test_a_spoken_answer() -> None:
    (audio,) = read(audio=SOUND)
    assert audio == Audio("UklGRgAA", "wav", "audio_1", "hello")
    message, losses = write(audio)
    assert message["audio"] == {**SOUND, "expires_at": 0}
    assert losses == []
    losses = []
    shown = json.loads(messages.write_reply(Reply("i", "m", [Choice([audio])]), losses))
    assert shown["content"] == [{"type": "text", "text": "hello"}]
    assert losses == ["content.audio"]


@pytest.mark.parametrize(
    ("data", "kind"), [("SUQzBA", "mp3"), ("//uQxA", "mp3"), ("T2dnUwA", "opus"), ("ZkxhQw", "flac"), ("AAAA", None)]
)
def test_the_format_of_a_sound_is_heard(data: str, kind: str | None) -> None:
    assert read(audio={"id": "a", "data": data}) == [Audio(data, kind, "a")]


def test_speech_is_streamed() -> None:
    found = stream(
        {"audio": {"id": "audio_1", "transcript": "he"}},
        {"audio": {"id": "audio_1", "data": "AAAA"}},
        {"audio": {"id": "audio_1", "expires_at": 9}},
        {"audio": {"expires_at": 9}},
        {"audio": []},
        {"audio": {"data": 5}},
    )
    assert found == [AudioDelta("", "he", "audio_1"), AudioDelta("AAAA", "", "audio_1"), AudioDelta(id="audio_1")]
    deltas, writer = rendered(*found, Finished("stop"))
    assert [delta["audio"] for delta in deltas if "audio" in delta] == [
        {"id": "audio_1", "transcript": "he"},
        {"id": "audio_1", "data": "AAAA"},
        {"id": "audio_1"},
    ]
    assert writer.losses == []
    shown = messages.StreamWriter("i", "m")
    assert b'"text":"he"' in b"".join(shown.write(event) for event in found)
    assert shown.losses == ["content.audio"]
    plain = completions.StreamWriter("i", "m", 1)
    assert b"".join(plain.write(event) for event in found) == b""
    assert plain.losses == ["audio"]


def test_a_relay_takes_sound_and_pictures_for_content() -> None:
    for delta in ({"audio": {"data": "AAAA"}}, {"images": [PNG]}):
        relay = chat.StreamRelay()
        chunk = {"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta}]}
        relay.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        assert relay.started


def request(**fields: Any) -> Conversation:
    return chat.read_request(json.dumps({"model": "m", "messages": [], **fields}).encode())


def sent(conversation: Conversation, traits: Traits = OPENAI) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    return json.loads(chat.write_request(conversation, losses, traits)), losses


def foreign(*turns: Turn, **fields: Any) -> Conversation:
    return Conversation("m", turns=list(turns), dialect="responses", **fields)


def test_what_a_client_asks_to_hear() -> None:
    fields = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}}
    conversation = request(**fields)
    assert (conversation.modalities, conversation.voice) == (["text", "audio"], Voice("alloy", "mp3"))
    assert sent(conversation) == ({"model": "m", "messages": [], **fields}, [])
    losses: list[str] = []
    conversation.turns.append(Turn("user", [Text("q")]))
    messages.write_request(conversation, losses)
    assert losses == ["modalities", "audio"]


def test_a_voice_of_ones_own_is_for_openai_alone() -> None:
    fields = {"audio": {"voice": {"id": "voice_1"}, "format": "wav"}}
    conversation = request(**fields)
    assert conversation.voice is None
    assert sent(conversation)[0]["audio"] == fields["audio"]


@pytest.mark.parametrize(
    ("fields", "written", "lost"),
    [
        ({"modalities": ["text"]}, {}, []),
        ({"modalities": ["text", "image"]}, {"modalities": ["text", "image"]}, []),
        (
            {"modalities": ["audio"]},
            {"modalities": ["audio"], "audio": {"voice": "alloy", "format": "wav"}},
            [],
        ),
        (
            {"modalities": ["audio"], "voice": Voice("Kore"), "stream": True},
            {"modalities": ["audio"], "audio": {"voice": "alloy", "format": "pcm16"}},
            ["voice"],
        ),
        ({"voice": Voice("sage", "mp3")}, {"audio": {"voice": "sage", "format": "mp3"}}, []),
    ],
)
def test_what_others_ask_to_hear(fields: dict[str, Any], written: dict[str, Any], lost: list[str]) -> None:
    body, losses = sent(foreign(**fields))
    assert {name: body[name] for name in ("modalities", "audio") if name in body} == written
    assert len(losses) == len(lost)


# Pictures


def test_pictures_in_an_answer() -> None:
    parts = read(images=[PNG, REMOTE, {"type": "new"}])
    assert parts == [
        Image("image/png", data="iVBORw0KGgo="),
        Image(url="https://a.example/b.png"),
        Opaque("chat", {"$fields": {"images": [{"type": "new"}]}}),
    ]
    message, losses = write(*parts)
    assert message["images"] == [PNG, REMOTE, {"type": "new"}]
    assert losses == []
    losses = []
    messages.write_reply(Reply("i", "m", [Choice(parts[:1])]), losses)
    assert losses == ["content.image"]
    losses = []
    completions.write_reply(Reply("i", "m", [Choice(parts[:1])]), losses)
    assert losses == ["images"]


def test_pictures_are_streamed() -> None:
    found = stream({"images": [PNG]}, {"images": [REMOTE, 5]}, {"content": [{**PNG, "index": None}]})
    assert found == [
        MediaDelta(Image("image/png", data="iVBORw0KGgo=")),
        MediaDelta(Image(url="https://a.example/b.png")),
        OpaqueDelta("chat", {"images": [5]}),
        MediaDelta(Image("image/png", data="iVBORw0KGgo=")),
    ]
    deltas, writer = rendered(*found[:2], MediaDelta(Document(text="t")), Finished("stop"))
    assert [delta["images"] for delta in deltas if "images" in delta] == [[PNG], [REMOTE]]
    assert writer.losses == ["document"]
    shown = messages.StreamWriter("i", "m")
    for event in found[:1]:
        assert shown.write(event) == b""
    assert shown.losses == ["content.image"]


def test_a_client_that_sends_its_history_back_keeps_pictures_and_the_name_of_a_sound() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "images": [PNG], "audio": {"id": "audio_1"}},
        ],
    }
    assert sent(chat.read_request(json.dumps(body).encode())) == (body, [])


# Custom tools

CUSTOM = {"type": "custom", "custom": {"name": "shell", "description": "d", "format": {"type": "text"}}}
CALL = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}


def test_a_custom_tool_and_its_calls() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ],
        "tools": [CUSTOM],
        "tool_choice": {"type": "custom", "custom": {"name": "shell"}},
    }
    conversation = chat.read_request(json.dumps(body).encode())
    assert conversation.tools == [Tool("shell", opaque=Opaque("chat", CUSTOM))]
    assert conversation.turns[1].parts == [ToolCall("c1", "shell", "ls -l", custom=True)]
    assert conversation.tool_choice == ToolChoice("tool", "shell")
    assert sent(conversation) == (body, [])
    losses: list[str] = []
    written = json.loads(messages.write_request(conversation, losses))
    assert written["messages"][1]["content"][0]["input"] == {"input": "ls -l"}
    assert losses == ["tools.0.shell", "tool_choice"]


def test_a_custom_call_in_an_answer() -> None:
    parts = read(tool_calls=[CALL])
    assert parts == [ToolCall("c1", "shell", "ls -l", custom=True)]
    assert chat.read_reply(answer(content=None, tool_calls=[CALL])).choices[0].finish == "tool_calls"
    assert write(*parts)[0]["tool_calls"] == [CALL]


def test_a_custom_call_in_pieces() -> None:
    found = stream(
        {"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": ""}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": 'ls "'}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": 'a"'}}]},
    )
    assert found == [ToolStarted(0, "c1", "shell", custom=True), ToolDelta(0, 'ls "'), ToolDelta(0, 'a"')]
    deltas, _ = rendered(*found, Finished("tool_calls"))
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls[0] == {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": ""}}
    assert [call["custom"]["input"] for call in calls] == ["", 'ls "', 'a"']
    shown = messages.StreamWriter("i", "m")
    wire = b"".join(shown.write(event) for event in (*found, Finished("tool_calls"))) + shown.close()
    events = messages.StreamReader().feed(wire)
    pieces = "".join(event.arguments for event in events if isinstance(event, ToolDelta))
    assert json.loads(pieces) == {"input": 'ls "a"'}


def test_an_empty_custom_call_stays_empty() -> None:
    deltas, _ = rendered(ToolStarted(0, "c1", "shell", custom=True), Finished("tool_calls"))
    assert [call["custom"] for delta in deltas for call in delta.get("tool_calls", ())] == [
        {"name": "shell", "input": ""}
    ]
    shown = messages.StreamWriter("i", "m")
    parts = (ToolStarted(0, "c1", "shell", custom=True), ToolStarted(1, "c2", "f"), Finished("tool_calls"))
    wire = b"".join(shown.write(event) for event in parts) + shown.close()
    found = messages.StreamReader().feed(wire)
    assert [event.arguments for event in found if isinstance(event, ToolDelta)] == ['{"input":""}', "{}"]


def test_a_custom_call_of_another_dialect_is_a_function_call() -> None:
    turns = [Turn("assistant", [ToolCall("c1", "shell", "ls", custom=True)]), Turn("user", [ToolResult("c1", [])])]
    body, _ = sent(foreign(*turns))
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "shell", "arguments": '{"input":"ls"}'}


# OpenAI's optional fields

FIELDS: dict[str, Any] = {
    "verbosity": "low",
    "store": True,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "service_tier": "flex",
}


def test_optional_fields_are_read_and_written() -> None:
    conversation = request(**FIELDS)
    assert {name: getattr(conversation, name) for name in FIELDS} == FIELDS
    assert sent(conversation, Traits()) == ({"model": "m", "messages": [], **FIELDS}, [])
    body, losses = sent(foreign(**FIELDS))
    assert {name: body.get(name) for name in FIELDS} == FIELDS
    assert losses == []


def test_a_host_without_them_gets_the_user_and_the_rest_is_reported() -> None:
    body, losses = sent(foreign(**FIELDS), Traits())
    assert body == {"model": "m", "messages": [], "user": "s"}
    assert losses == ["verbosity", "store", "prompt_cache_key", "service_tier"]
    body, losses = sent(foreign(user="u", safety_identifier="s", store=False, verbosity="medium"), Traits())
    assert body["user"] == "u"
    assert losses == ["safety_identifier"]


def test_anthropic_gets_the_user_and_the_rest_is_reported() -> None:
    losses: list[str] = []
    body = json.loads(messages.write_request(foreign(Turn("user", [Text("q")]), **FIELDS), losses))
    assert body["metadata"] == {"user_id": "s"}
    assert sorted(losses) == ["prompt_cache_key", "service_tier", "store", "verbosity"]
    losses = []
    body = json.loads(
        messages.write_request(foreign(Turn("user", [Text("q")]), user="u", safety_identifier="s"), losses)
    )
    assert body["metadata"] == {"user_id": "u"}
    assert losses == ["safety_identifier"]


@pytest.mark.parametrize(("name", "value"), [("verbosity", 3), ("store", "yes"), ("modalities", "text"), ("audio", 1)])
def test_a_wrong_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        request(**{name: value})
    assert refused.value.param == name


def test_an_earlier_answer_that_nobody_kept_is_reported() -> None:
    conversation = foreign(Turn("user", [Text("q")]), previous="resp_1")
    assert len(sent(conversation)[1]) == 1
    losses: list[str] = []
    messages.write_request(conversation, losses)
    assert len(losses) == 1


# OpenRouter's reasoning object


@pytest.mark.parametrize(
    ("given", "meant", "again"),
    [
        ({"effort": "high"}, Reasoning(effort="high", include=True), {"effort": "high"}),
        ({"max_tokens": 2000, "exclude": True}, Reasoning(budget=2000, include=False), None),
        ({"enabled": True}, Reasoning(include=True), None),
        ({"enabled": False}, Reasoning(enabled=False, include=True), None),
        ({"effort": "none"}, Reasoning(enabled=False, effort="none", include=True), None),
        ({"effort": "low", "summary": "auto"}, Reasoning(effort="low", include=True), None),
    ],
)
def test_openrouters_wish_is_the_same_wish(
    given: dict[str, Any], meant: Reasoning, again: dict[str, Any] | None
) -> None:
    conversation = request(reasoning=given)
    assert conversation.reasoning == meant
    assert sent(conversation)[0]["reasoning"] == (again or given)


def test_openrouter_is_asked_in_its_own_words() -> None:
    router = Traits(thinking="object")
    assert sent(foreign(reasoning=Reasoning(effort="low")), router)[0]["reasoning"] == {"effort": "low"}
    assert sent(foreign(reasoning=Reasoning(budget=2048)), router)[0]["reasoning"] == {"max_tokens": 2048}
    assert sent(foreign(reasoning=Reasoning(adaptive=True)), router)[0]["reasoning"] == {"enabled": True}
    assert sent(foreign(reasoning=Reasoning(False)), router)[0]["reasoning"] == {"enabled": False}


def test_effort_and_object_together() -> None:
    conversation = request(reasoning_effort="low", reasoning={"exclude": True})
    assert conversation.reasoning == Reasoning(effort="low", include=False)


def test_text_beside_pictures_keeps_its_place() -> None:
    deltas, _ = rendered(
        TextDelta("a"), MediaDelta(Image(url="https://a.example/b.png")), TextDelta("b"), Finished("stop")
    )
    assert [next(iter(delta)) for delta in deltas if delta] == ["role", "content", "images", "content"]
    ChatCompletionChunk.model_validate(
        {"id": "i", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
        ]}
    )  # fmt: skip
