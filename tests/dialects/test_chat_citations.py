"""Citations in the chat dialect: annotations read and written, whole and streamed, from and for other dialects."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from freehold.dialects import chat, completions, messages
from freehold.dialects.conversation import (
    Choice,
    Citation,
    Event,
    Finished,
    Opaque,
    OpaqueDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
)

URL = {
    "type": "url_citation",
    "url_citation": {"start_index": 2, "end_index": 5, "url": "https://a.example/x", "title": "A", "content": "q"},
}
FILE = {"type": "file_citation", "file_citation": {"file_id": "file-1", "filename": "a.pdf"}}
PARSED = {"type": "file", "file": {"hash": "h", "name": "a.pdf", "content": []}}
RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


def cited(url: str = "https://a.example/x", **fields: Any) -> Citation:
    return Citation(url=url, **fields)


def answer(**fields: Any) -> bytes:
    message = {"role": "assistant", "content": "ab cd ef", **fields.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "i", "model": "m", "choices": [choice], **fields}).encode()


def write(*parts: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = chat.write_reply(Reply("i", "m", [Choice(list(parts))]), losses, 7)
    ChatCompletion.model_validate_json(body)
    message: dict[str, Any] = json.loads(body)["choices"][0]["message"]
    return message, losses


# Whole


def test_annotations_are_citations_of_the_text() -> None:
    text, rest = chat.read_reply(answer(message={"annotations": [URL, FILE, PARSED]})).choices[0].parts
    assert text == Text(
        "ab cd ef",
        citations=[
            Citation("https://a.example/x", "A", "q", 2, 5, dialect="chat", raw=URL),
            Citation(title="a.pdf", file_id="file-1", dialect="chat", raw=FILE),
        ],
    )
    assert rest == Opaque("chat", {"$fields": {"annotations": [PARSED]}})
    message = json.loads(chat.write_reply(Reply("i", "m", [Choice([text, rest])]), []))["choices"][0]["message"]
    assert message["annotations"] == [URL, FILE, PARSED]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        5,
        "x",
        [None],
        [{"type": "url_citation"}],
        [{"type": "url_citation", "url_citation": {"url": 5}}],
        [{"type": "file_citation", "file_citation": []}],
    ],
)
def test_what_is_no_citation_is_survived(raw: Any) -> None:
    parts = chat.read_reply(answer(message={"annotations": raw})).choices[0].parts
    assert parts[0] == Text("ab cd ef")


@pytest.mark.parametrize(("start", "end"), [(-1, 4), (5, 2), (None, 4), ("1", 2), (1.5, 2), (True, 2)])
def test_places_that_cannot_be_are_left_out(start: Any, end: Any) -> None:
    raw = {"type": "url_citation", "url_citation": {"url": "https://a.example", "start_index": start, "end_index": end}}
    part = chat.read_reply(answer(message={"annotations": [raw]})).choices[0].parts[0]
    assert isinstance(part, Text)
    assert part.citations == [Citation("https://a.example", dialect="chat", raw=raw)]


def test_a_flat_annotation_and_one_without_text_count() -> None:
    flat = {"type": "url_citation", "url": "https://a.example", "title": "A"}
    parts = chat.read_reply(answer(message={"content": None, "annotations": [flat]})).choices[0].parts
    assert parts == [Text("", citations=[Citation("https://a.example", "A", dialect="chat", raw=flat)])]


def test_citations_find_their_part_of_a_list_content() -> None:
    content = [{"type": "text", "text": "abc"}, {"type": "text", "text": "defg"}]
    found = chat.read_reply(answer(message={"content": content, "annotations": [URL, {**URL, "url_citation": {
        **URL["url_citation"], "start_index": 4, "end_index": 6}}]})).choices[0].parts  # fmt: skip
    assert [[(one.start, one.end) for one in part.citations or ()] for part in found if isinstance(part, Text)] == [
        [(2, 5)],
        [(1, 3)],
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"citations": ["https://a.example", "https://b.example", 5]},
        {"search_results": [{"url": "https://a.example"}, {"url": "https://b.example"}, {}], "citations": ["x"]},
    ],
)
def test_sources_beside_the_choices(fields: dict[str, Any]) -> None:
    part = chat.read_reply(answer(**fields)).choices[0].parts[0]
    assert isinstance(part, Text)
    assert [one.url for one in part.citations or ()] == ["https://a.example", "https://b.example"]
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    reader = chat.StreamReader()
    chunk = json.dumps({"id": "i", "model": "m", "choices": [choice], **fields}).encode()
    found = reader.feed(b"data: " + chunk + b"\n\ndata: [DONE]\n\n")
    urls = [one.citation.url for one in found if isinstance(one, TextDelta) and one.citation is not None]
    assert urls == ["https://a.example", "https://b.example"]
    assert isinstance(found[-1], Finished)


def test_foreign_citations_are_written_where_they_stand() -> None:
    message, losses = write(
        Text("abc", citations=[cited(title="A", start=1, end=2, quote="q")]),
        Text("defg", citations=[cited("https://b.example")]),
    )
    assert message["annotations"][:2] == [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 1,
                "end_index": 2,
                "url": "https://a.example/x",
                "title": "A",
                "content": "q",
            },
        },
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 3,
                "end_index": 7,
                "url": "https://b.example",
                "title": "https://b.example",
            },
        },
    ]
    assert losses == []


def test_a_citation_of_a_file_and_one_without_a_name() -> None:
    losses: list[str] = []
    parts = [Text("ab", citations=[Citation(file_id="f", title="T", quote="q"), Citation(quote="q", source=0)])]
    body = json.loads(chat.write_reply(Reply("i", "m", [Choice(parts)]), losses))
    assert body["choices"][0]["message"]["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 0,
                "end_index": 2,
                "url": "file:f",
                "title": "T",
                "file_id": "f",
                "content": "q",
            },
        }
    ]
    assert losses == ["citations"]
    [text] = chat.read_reply(json.dumps(body).encode()).choices[0].parts
    assert isinstance(text, Text)
    [citation] = text.citations or []
    assert (citation.url, citation.file_id, citation.title, citation.quote) == (None, "f", "T", "q")


# Streams


def rendered(*events: Event) -> tuple[str, list[dict[str, Any]], chat.StreamWriter]:
    writer = chat.StreamWriter("i", "m", 1)
    out = b"".join(writer.write(event) for event in (Started("i", "m"), *events)) + writer.close()
    deltas = []
    for line in out.decode().splitlines():
        if line.startswith("data: {"):
            ChatCompletionChunk.model_validate_json(line[6:])
            deltas += [choice["delta"] for choice in json.loads(line[6:])["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    return text, [note for delta in deltas for note in delta.get("annotations", ())], writer


def test_streamed_citations_count_from_where_their_part_begins() -> None:
    text, notes, writer = rendered(
        TextDelta("abc"),
        ToolStarted(0, "c", "f"),
        ToolDelta(0, "{}"),
        TextDelta("de"),
        TextDelta("", citation=cited(start=0, end=2)),
        TextDelta("f", citation=cited("https://b.example")),
        TextDelta("", citation=Citation(quote="nameless")),
        Finished("tool_calls"),
    )
    assert text == "abcdef"
    places = [(note["url_citation"]["start_index"], note["url_citation"]["end_index"]) for note in notes]
    assert places == [(3, 5), (3, 6)]
    assert writer.losses == ["citations"]


def test_streamed_annotations_are_read() -> None:
    reader = chat.StreamReader()

    def feed(**delta: Any) -> list[Event]:
        chunk = json.dumps({"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta}]}).encode()
        return reader.feed(b"data: " + chunk + b"\n\n")

    feed(content="ab cd ef")
    assert feed(annotations=[URL, PARSED]) == [
        TextDelta("", citation=Citation("https://a.example/x", "A", "q", 2, 5, dialect="chat", raw=URL)),
        OpaqueDelta("chat", {"annotations": [PARSED]}),
    ]
    feed(reasoning="t", content="gh")
    shifted = {"type": "url_citation", "url_citation": {"url": "https://b.example", "start_index": 8, "end_index": 10}}
    (late,) = feed(annotations=[shifted])
    assert isinstance(late, TextDelta)
    assert late.citation is not None
    assert (late.citation.start, late.citation.end) == (0, 2)


def test_legacy_completions_report_them() -> None:
    losses: list[str] = []
    completions.write_reply(Reply("i", "m", [Choice([Text("a", citations=[cited()])])]), losses)
    writer = completions.StreamWriter("i", "m", 1)
    writer.write(TextDelta("a", citation=cited()))
    writer.write(ThinkingDelta("t"))
    assert losses == ["citations"]
    assert writer.losses == ["citations", "thinking"]


# Requests


def test_a_client_that_sends_its_history_back_keeps_the_citations() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "ab cd ef", "annotations": [URL, FILE, PARSED]},
        ],
    }
    conversation = chat.read_request(json.dumps(body).encode())
    losses: list[str] = []
    assert json.loads(chat.write_request(conversation, losses)) == body
    assert losses == []
    messages.write_request(conversation, losses)
    assert losses == ["messages.1.citations", "messages.1.annotations"]


# Anthropic's, recorded


def recorded() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    with gzip.open(RECORDED) as lines:
        found = (json.loads(line) for line in lines if b"citations_delta" in line)
        return [one for one in found if one.get("response_text")]


STREAMS = recorded()


@pytest.mark.skipif(not STREAMS, reason="the recorded exchanges are not beside the repository")
@pytest.mark.parametrize("exchange", STREAMS, ids=[f"{one['source']}-{one['index']}" for one in STREAMS])
def test_a_chat_client_sees_which_words_anthropic_cited(exchange: dict[str, Any]) -> None:
    blocks: dict[int, str] = {}
    backed: list[tuple[str, str]] = []
    for line in exchange["response_text"].splitlines():
        if line.startswith("data:"):
            event = json.loads(line[5:])
            delta = event.get("delta", {})
            if delta.get("type") == "text_delta":
                blocks[event["index"]] = blocks.get(event["index"], "") + delta["text"]
            elif delta.get("type") == "citations_delta":
                backed.append((event["index"], delta["citation"]["url"]))
    reader = messages.StreamReader()
    text, notes, _ = rendered(*reader.feed(exchange["response_text"].encode()))
    assert text == "".join(blocks.values())
    seen = [(note["url_citation"]["url"], note["url_citation"]) for note in notes]
    assert [(text[place["start_index"] : place["end_index"]], url) for url, place in seen] == [
        (blocks[index], url) for index, url in backed
    ]
