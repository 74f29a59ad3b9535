"""Gemini requests read: spellings, ids, schemas, unknown fields, wrong input; what routing sees; paths."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import gemini, messages
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.gemini.schema import read_schema
from freehold.dialects.gemini.signatures import read_thinking, write_signature
from freehold.dialects.peek import Peek
from freehold.errors import BadRequest, FreeholdError

HI = {"role": "user", "parts": [{"text": "hi"}]}


def read(*contents: Any, **fields: Any) -> Conversation:
    return gemini.read_request(json.dumps({"contents": list(contents) or [HI], **fields}).encode(), model="m")


def again(conversation: Conversation) -> dict[str, Any]:
    losses: list[str] = []
    body: dict[str, Any] = json.loads(gemini.write_request(conversation, losses))
    assert losses == []
    return body


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def call(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"a": 1}, **fields}}


def result(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"x": 1}, **fields}}


# Spellings

CAMEL = {
    "contents": [
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a_b": 1}}, "thoughtSignature": "QQ=="}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"c_d": 1}}}]},
    ],
    "systemInstruction": {"parts": [{"text": "S"}]},
    "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object", "a_b": 1}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "maxOutputTokens": 5,
        "topP": 0.5,
        "stopSequences": ["x"],
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "c_d": 1},
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 100},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    },
    "safetySettings": [],
}
FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema"}


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key): (
                item if key in FREE else snake(item)
            )
            for key, item in value.items()
        }
    return [snake(item) for item in value] if isinstance(value, list) else value


def test_fields_may_be_spelled_either_way() -> None:
    camel = gemini.read_request(json.dumps(CAMEL).encode(), model="m")
    assert gemini.read_request(json.dumps(snake(CAMEL)).encode(), model="m") == camel
    assert camel.turns[1].parts[0].arguments == '{"a_b":1}'  # type: ignore[union-attr]
    assert camel.tool_choice == ToolChoice("tool", "f")
    assert camel.output == OutputFormat("schema", {"type": "object", "c_d": 1}, strict=True)
    assert camel.unknown == {"generationConfig.mediaResolution": "MEDIA_RESOLUTION_LOW", "safetySettings": []}
    seen = [gemini.peek(json.dumps(body).encode(), model="m") for body in (CAMEL, snake(CAMEL))]
    for one in seen:
        one.input_bytes = 0
    assert seen[0] == seen[1] == Peek("m", False, 5, 1, 0, True, True, True, images=True)


def test_what_nobody_else_has_goes_back_to_gemini() -> None:
    body = again(gemini.read_request(json.dumps(CAMEL).encode(), model="m"))
    assert body["generationConfig"] == CAMEL["generationConfig"]
    assert body["safetySettings"] == []
    assert body["toolConfig"] == CAMEL["toolConfig"]
    assert body["tools"] == CAMEL["tools"]


def test_one_object_where_a_list_is_due() -> None:
    found = gemini.read_request(b'{"contents": {"role": "USER", "parts": {"text": "hi"}}}', model="m")
    assert found.turns == [Turn("user", [Text("hi")])]
    assert read({"parts": [{"text": "no role"}]}).turns[0].role == "user"


@pytest.mark.parametrize(
    "system",
    ["S", ["S"], {"text": "S"}, [{"text": "S"}], {"parts": {"text": "S"}}, {"role": "user", "parts": [{"text": "S"}]},
     [{"role": "system", "parts": [{"text": "S"}]}]],
)  # fmt: skip
def test_system_instructions_in_every_form(system: Any) -> None:
    assert read(systemInstruction=system).system == [Text("S")]
    assert read(system_instruction=system).system == [Text("S")]


def test_numbers_as_google_takes_them() -> None:
    found = read(
        generationConfig={"maxOutputTokens": "100", "topK": 40.0, "temperature": 1, "topP": "0.5", "seed": None}
    )
    assert (found.max_tokens, found.top_k, found.temperature, found.top_p, found.seed) == (100, 40, 1, 0.5, None)


# Calls and answers


def ids(*contents: Any) -> tuple[list[str], list[str]]:
    parts = [part for turn in read(*contents).turns for part in turn.parts]
    calls = [part.id for part in parts if isinstance(part, ToolCall)]
    return calls, [part.id for part in parts if isinstance(part, ToolResult)]


def test_ids_are_made_and_answers_find_their_calls() -> None:
    history = [HI, model(call("f"), call("g"), call("f")), user(result("g"), result("f"), result("f"))]
    (f, g, other), answers = ids(*history)
    assert answers == [g, f, other]
    assert len({f, g, other}) == 3
    assert ids(*history, model({"text": "so"}), user({"text": "and"}))[0] == [f, g, other]


def test_given_ids_count_more_than_the_order() -> None:
    assert ids(HI, model(call(id="a"), call(id="b")), user(result(id="b"), result(id="a"))) == (["a", "b"], ["b", "a"])
    # A client that keeps the id of the call and forgets that of the answer, and the other way round.
    assert ids(HI, model(call(id="a")), user(result())) == (["a"], ["a"])
    (made,), answered = ids(HI, model(call()), user(result(id="x")))
    assert answered == [made]
    # An answer to nothing keeps what it has, and is shown as what it is.
    assert ids(HI, model(call(id="a")), user(result("other", id="z")))[1] == ["z"]


def test_answers_split_over_contents_still_find_their_calls() -> None:
    calls, answers = ids(
        HI, model(call("f")), model(call("g")), user(result("f")), {"role": "function", "parts": [result("g")]}
    )
    assert answers == calls


def test_a_second_round_of_the_same_call_is_another_call() -> None:
    calls, answers = ids(HI, model(call()), user(result()), model(call()), user(result()))
    assert calls == answers
    assert len(set(calls)) == 2


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "sunny"}, "sunny", False),
        ({"error": "boom"}, "boom", True),
        ({"result": "sunny"}, '{"result":"sunny"}', False),
        ({"output": {"a": 1}}, '{"output":{"a":1}}', False),
        ({"output": '{"a": 1}'}, '{"output":"{\\"a\\": 1}"}', False),
        ({"error": {"code": 1}}, '{"error":{"code":1}}', True),
        ({"output": "x", "error": "y"}, '{"output":"x","error":"y"}', False),
        ({}, "{}", False),
    ],
)
def test_what_a_function_answers(response: dict[str, Any], text: str, is_error: bool) -> None:
    found = read(HI, model(call()), user(result(response=response)))
    answer = found.turns[2].parts[0]
    assert isinstance(answer, ToolResult)
    assert (answer.parts, answer.is_error) == ([Text(text)], is_error)
    written = again(found)["contents"][2]["parts"][0]["functionResponse"]
    assert (written["response"], written["name"]) == (response, "f")


def test_an_answer_with_media_keeps_it_inside() -> None:
    parts = [{"inlineData": {"mimeType": "image/png", "data": "QUJD", "displayName": "a.png"}}]
    found = read(HI, model(call(id="a")), user(result(id="a", parts=parts, scheduling="SILENT")))
    answer = found.turns[2].parts[0]
    assert isinstance(answer, ToolResult)
    assert Image("image/png", "QUJD") in answer.parts
    written = again(found)["contents"][2]["parts"][0]["functionResponse"]
    assert written["scheduling"] == "SILENT"
    assert written["parts"][0]["inlineData"]["data"] == "QUJD"


# Thoughts

SIGNED = [
    Thinking("t", "gemini:QUJD"),
    Thinking("t", "gemini:not base64 at all!"),
    Thinking("t", "c2lnbmF0dXJl+/=="),
    Thinking("t", "openai:gAAAA"),
    Thinking("t", "openai:gAAAA", id="rs_1"),
    Thinking("t", id="rs_1"),
    Thinking("", redacted="b3BhcXVl"),
    Thinking("t"),
]


@pytest.mark.parametrize("thought", SIGNED)
def test_every_signature_comes_back(thought: Thinking) -> None:
    wire = write_signature(thought.signature, thought.redacted, thought.id)
    assert read_thinking(thought.text, wire) == thought
    if wire is not None and not wire.startswith("not"):
        assert read_thinking(thought.text, wire.replace("+", "-").replace("/", "_")).redacted == thought.redacted


@given(st.text(max_size=60))
def test_any_signature_is_read_and_only_tagged_ones_are_foreign(signature: str) -> None:
    found = read_thinking("t", signature)
    assert found.signature == (f"gemini:{signature}" if signature else None) or found.redacted is not None


@given(st.text(min_size=1, max_size=60).filter(lambda text: not text.startswith(("gemini:", "openai:"))))
def test_any_foreign_signature_survives(signature: str) -> None:
    assert read_thinking("t", write_signature(signature)) == Thinking("t", signature)


def test_thoughts_and_signed_texts_go_back_to_gemini() -> None:
    parts = [
        {"text": "unsigned", "thought": True},
        {"text": "signed", "thought": True, "thoughtSignature": "QUJD"},
        {"text": "answer", "thoughtSignature": "QQ=="},
        {"text": "", "thoughtSignature": "QUI="},
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "QUI="},
        {**call(id="a"), "thoughtSignature": "QUJD"},
    ]
    found = read(HI, model(*parts), user(result(id="a")))
    assert found.turns[1].parts == [
        Thinking("unsigned"),
        Thinking("signed", "gemini:QUJD"),
        Text("answer", signature="QQ=="),
        Text("", signature="QUI="),
        Opaque("gemini", parts[4]),
        ToolCall("a", "f", '{"a":1}', "QUJD"),
    ]
    assert again(found)["contents"][1]["parts"] == parts


def test_a_streamed_foreign_thought_is_one_again() -> None:
    signature = write_signature("c2ln")
    found = read(
        HI,
        model({"text": "let ", "thought": True}),
        model({"text": "me", "thought": True}, {"text": "", "thought": True, "thoughtSignature": signature}),
        model({"text": "yes"}, call(id="a")),
        user(result(id="a")),
    )
    assert [turn.role for turn in found.turns] == ["user", "assistant", "user"]
    assert found.turns[1].parts == [Thinking("let me", "c2ln"), Text("yes"), ToolCall("a", "f", '{"a":1}')]
    losses: list[str] = []
    body = json.loads(messages.write_request(found, losses))
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "let me", "signature": "c2ln"}


# Media


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "QQ=="}}, Audio("QQ==", "pcm16")),
        ({"inlineData": {"mimeType": "audio/L16;rate=16000", "data": "QQ"}}, Audio("QQ==", "L16;rate=16000")),
        ({"inlineData": {"mimeType": "video/mp4", "data": "QQ=="}}, Document("video/mp4", "QQ==")),
        ({"inlineData": {"data": "QQ=="}}, Document(None, "QQ==")),
        ({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x", "mimeType": "image/png"}},
         Image("image/png", file_id="https://generativelanguage.googleapis.com/v1beta/files/x")),
        ({"fileData": {"fileUri": "files/x"}}, Document(file_id="files/x")),
        ({"fileData": {"fileUri": "https://example.org/x.pdf"}}, Document(url="https://example.org/x.pdf")),
    ],
)  # fmt: skip
def test_media(part: dict[str, Any], expected: Part) -> None:
    found = read(user(part, {"text": "?"}))
    assert found.turns[0].parts[0] == expected
    written = again(found)["contents"][0]["parts"][0]
    (kind,) = part
    assert {key: item.rstrip("=") for key, item in part[kind].items()}.items() <= {
        key: item.rstrip("=") for key, item in written[kind].items()
    }.items()


def test_further_fields_of_a_part_go_back_to_it_and_are_lost_elsewhere() -> None:
    part = {
        "fileData": {"fileUri": "https://example.org/x.mp4", "mimeType": "video/mp4", "displayName": "x"},
        "videoMetadata": {"fps": 2},
    }
    found = read(user({"text": "look"}, part))
    assert again(found)["contents"][0]["parts"] == [{"text": "look"}, part]
    losses: list[str] = []
    messages.write_request(found, losses)
    assert any("videoMetadata" in name for name in losses)
    assert any("displayName" in name for name in losses)


# Tools and settings


def test_an_openapi_schema_is_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "nullable": True,
        "properties": {
            "type": {"type": "STRING", "enum": ["a"], "format": "enum", "nullable": True},
            "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "min_items": "1"},
            "either": {"any_of": [{"type": "STRING"}, {"type": "NUMBER", "maximum": 3}], "nullable": True},
            "any": {"type": "TYPE_UNSPECIFIED", "example": 1},
        },
        "required": ["type"],
        "property_ordering": ["type", "list"],
        "default": None,
    }
    assert read_schema(schema, "s") == {
        "type": ["object", "null"],
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["a", None]},
            "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
            "either": {"anyOf": [{"type": "string"}, {"type": "number", "maximum": 3}, {"type": "null"}]},
            "any": {"examples": [1]},
        },
        "required": ["type"],
        "propertyOrdering": ["type", "list"],
        "default": None,
    }


def test_fields_of_a_declaration_go_back_to_it() -> None:
    tools = [
        {
            "googleSearch": {},
            "functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING", "response": {"type": "OBJECT"}}],
        },
        {"functionDeclarations": [{"name": "g", "description": "G"}]},
    ]
    found = read(tools=tools, toolConfig={"retrievalConfig": {"languageCode": "de"}})
    body = again(found)
    assert body["tools"] == [
        {"functionDeclarations": [tools[0]["functionDeclarations"][0], {"name": "g", "description": "G"}]},  # type: ignore[index]
        {"googleSearch": {}},
    ]
    assert body["toolConfig"] == {"retrievalConfig": {"languageCode": "de"}}
    losses: list[str] = []
    messages.write_request(found, losses)
    assert {"tools.1.behavior", "toolConfig.retrievalConfig"} <= set(losses)


@pytest.mark.parametrize(
    ("config", "choice", "strict"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto"), None),
        ({}, ToolChoice("auto"), None),
        ({"mode": "none"}, ToolChoice("none"), None),
        ({"mode": "ANY"}, ToolChoice("required"), None),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("tool", "f"), None),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ToolChoice("required", names=["f", "g"]), None),
        ({"mode": "VALIDATED"}, ToolChoice("auto"), True),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}, ToolChoice("auto", names=["f", "g"]), True),
    ],
)
def test_tool_choice(config: dict[str, Any], choice: ToolChoice, strict: bool | None) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    found = read(tools=tools, toolConfig={"functionCallingConfig": config})
    assert found.tool_choice == choice
    assert [tool.strict for tool in found.tools] == [strict, strict]
    expected = {"mode": "AUTO", **config}
    expected["mode"] = expected["mode"].upper()
    assert again(found)["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(
    "config",
    [
        {"thinkingConfig": {"thinkingBudget": 0}},
        {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": True}},
        {"thinkingConfig": {"thinkingBudget": 512, "includeThoughts": False}},
        {"thinkingConfig": {"thinkingLevel": "high"}},
        {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "1:1"}},
        {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}, "languageCode": "de-DE"}},
        {"speechConfig": {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": []}}},
        {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["A"]}},
        {"responseLogprobs": True, "logprobs": 3, "candidateCount": 2, "seed": -1},
        {"audioTimestamp": True, "routingConfig": {"autoMode": {}}},
    ],
)
def test_settings_go_back_as_they_were(config: dict[str, Any]) -> None:
    assert again(read(generationConfig=config))["generationConfig"] == config


def test_an_unknown_name_with_dots_hurts_nobody() -> None:
    body = again(read(**{"contents.x": 1, "labels": {"a": "b"}, "labels.c": 2, "generationConfig.": 3}))
    assert body["contents.x"] == 1
    assert body["labels"] == {"a": "b", "c": 2}


def test_losses_of_others_are_named() -> None:
    found = read(safetySettings=[1], cachedContent="c", labels={"a": "b"}, generationConfig={"mediaResolution": "LOW"})
    losses: list[str] = []
    messages.write_request(found, losses)
    assert set(losses) == {"safetySettings", "cachedContent", "labels", "generationConfig.mediaResolution"}


def test_thinking_is_asked_of_others() -> None:
    found = read(generationConfig={"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"}})
    assert found.reasoning == Reasoning(effort="high", include=True)


# Wrong input


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"contents": "hi"}', "contents"),
        (b"{}", "contents"),
        (b'{"contents": null}', "contents"),
        (b'{"contents": [1]}', "contents.0"),
        (b'{"contents": [{"role": "assistant", "parts": []}]}', "contents.0.role"),
        (b'{"contents": [{"parts": [{"text": 1}]}]}', "contents.0.parts.0.text"),
        (b'{"contents": [{"parts": ["hi"]}]}', "contents.0.parts.0"),
        (b'{"contents": [{"parts": [{"functionCall": {}}]}]}', "contents.0.parts.0.functionCall.name"),
        (b'{"contents": [{"parts": [{"functionCall": {"name": "f", "args": "x"}}]}]}',
         "contents.0.parts.0.functionCall.args"),
        (b'{"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}',
         "contents.0.parts.0.inlineData.data"),
        (b'{"contents": [], "generationConfig": {"temperature": "hot"}}', "generationConfig.temperature"),
        (b'{"contents": [], "generationConfig": {"maxOutputTokens": 99999999999999999999}}',
         "generationConfig.maxOutputTokens"),
        (b'{"contents": [], "generationConfig": {"candidateCount": 0}}', "generationConfig.candidateCount"),
        (b'{"contents": [], "generationConfig": {"topP": "nan"}}', "generationConfig.topP"),
        (b'{"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": 1}]}]}',
         "tools.0.functionDeclarations.0.parameters"),
        (b'{"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}',
         "toolConfig.functionCallingConfig.mode"),
        (b'{"contents": [{"parts": [{"text": "\xff"}]}]}', None),
    ],
)  # fmt: skip
def test_wrong_input_names_its_field(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        gemini.read_request(body, model="m")
    assert caught.value.param == param


def test_deep_json_is_a_bad_request() -> None:
    deep = b'{"type":"OBJECT","properties":{"a":' * 600 + b"{}" + b"}}" * 600
    body = b'{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":%b}]}]}' % deep
    with pytest.raises(BadRequest):
        gemini.write_request(gemini.read_request(body, model="m"), [])
    with pytest.raises(BadRequest):
        gemini.read_request(b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", model="m")


RICH = json.dumps({**CAMEL, "contents": [
    *CAMEL["contents"],  # type: ignore[misc]
    model({"text": "t", "thought": True, "thoughtSignature": write_signature("abc")}, {"text": "x"}),
    user({"fileData": {"fileUri": "gs://x", "mimeType": "audio/wav"}, "videoMetadata": {"fps": 1}}),
]})  # fmt: skip
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just([])
    | st.just({})
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


PLACES = places(json.loads(RICH))[1:]


@settings(max_examples=400)
@given(
    st.sampled_from(PLACES), JUNK | st.lists(JUNK, max_size=2) | st.dictionaries(st.text(max_size=5), JUNK, max_size=2)
)
def test_a_mutated_request_is_read_or_refused(place: tuple[Any, ...], junk: Any) -> None:
    body = json.loads(RICH)
    holder = body
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = junk
    raw = json.dumps(body).encode()
    for verb in (
        lambda: gemini.peek(raw, model="m"),
        lambda: gemini.peek_count(raw, model="m"),
        lambda: gemini.patch_request(raw, model="m"),
        lambda: gemini.read_count_request(raw, model="m"),
        lambda: gemini.write_request(gemini.read_request(raw, model="m"), []),
        lambda: messages.write_request(gemini.read_request(raw, model="m"), []),
    ):
        try:
            verb()
        except FreeholdError:
            continue


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_refused(body: bytes) -> None:
    for verb in (gemini.peek, gemini.peek_count, gemini.read_request, gemini.read_count_request):
        with pytest.raises(BadRequest):
            verb(body, model="m")


# What routing sees


def test_peek() -> None:
    body = {
        "contents": [user({"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}})],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generationConfig": {"maxOutputTokens": 50, "candidateCount": 3, "responseMimeType": "application/json"},
    }
    found = gemini.peek(json.dumps(body).encode(), model="m", stream=True)
    assert 4096 < found.input_bytes < 5000
    found.input_bytes = 0
    assert found == Peek("m", True, 50, 3, 0, True, True, True, images=True)
    raw = json.dumps({"contents": [user({"text": 'I said "image/png"'})], "model": "models/x"}).encode()
    assert not gemini.peek(raw).images
    assert gemini.peek(raw).model == "x"
    wrapped = json.dumps({"generate_content_request": json.loads(raw)}).encode()
    assert gemini.peek_count(wrapped, model="y").model == "y"
    assert gemini.read_count_request(wrapped).model == "x"


def test_a_pass_through_changes_only_the_model() -> None:
    body = b'{"contents": [ {"parts": [{"text": "hi"}]} ], "new": 1.50}'
    assert gemini.patch_request(body, model="b") is body
    named = b'{"model":"models/a","contents":[{"parts": [ {"text":"\\"model\\""}]}],"new":1.50}'
    assert gemini.patch_request(named, model="b") == named.replace(b"models/a", b"models/b")
    assert gemini.patch_request(named, model="a") is named
    counted = b'{"generateContentRequest":{"model":"models/a","contents":[]}}'
    assert gemini.patch_request(counted, model="b") == counted.replace(b"/a", b"/b")


# Paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1beta/models/gemini-3-pro:generateContent", ("gemini-3-pro", "generateContent")),
        ("/v1/models/small:streamGenerateContent", ("small", "streamGenerateContent")),
        ("/v1alpha/models/a/b/c:countTokens", ("a/b/c", "countTokens")),
        ("/v1beta/models/own%2Fqwen3:8b:generateContent", ("own/qwen3:8b", "generateContent")),
        ("/v1beta/models/gr%C3%BCn:generateContent", ("grün", "generateContent")),
        ("/v1beta/models/m%3AgenerateContent", ("m", "generateContent")),
        ("/v1beta/models/a%3Ab:generateContent", ("a:b", "generateContent")),
        ("/v1beta/tunedModels/mine:generateContent", ("tunedModels/mine", "generateContent")),
        ("/v1/projects/p/locations/eu/publishers/google/models/g:generateContent", ("g", "generateContent")),
        ("/v1beta1/projects/p/locations/global/publishers/google/models/g:embedContent", ("g", "embedContent")),
        ("/v1/projects/p/locations/eu/endpoints/123:generateContent", ("endpoints/123", "generateContent")),
        ("/v1beta1/publishers/google/models/g:countTokens", ("g", "countTokens")),
        ("/v1beta/models/m:batchEmbedContents", ("m", "batchEmbedContents")),
        ("/v1beta/models/m:predict", None),
        ("/v1beta/models/m", None),
        ("/v1beta/models/:generateContent", None),
        ("/v1beta/models/%2F:generateContent", None),
        ("/v1beta/models/%FF:generateContent", None),
        ("/v2/models/m:generateContent", None),
        ("/v1/chat/completions", None),
        ("/v1beta/models", None),
        ("", None),
    ],
)  # fmt: skip
def test_paths(path: str, expected: tuple[str, str] | None) -> None:
    assert gemini.parse_path(path) == expected


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.booleans())
def test_a_path_that_is_written_is_read(model: str, stream: bool) -> None:
    if model.startswith(("models/", "tunedModels/")) or not model.strip("/"):
        return
    found = gemini.parse_path(gemini.path(model, stream).partition("?")[0])
    assert found == (model, "streamGenerateContent" if stream else "generateContent")


@given(st.text(max_size=80))
def test_any_path_is_read_or_none(path: str) -> None:
    gemini.parse_path(path)
    gemini.parse_path(f"/v1beta/models/{path}:generateContent")
