"""Anthropic's citations to and from the canonical form, and what a client of this dialect sees of others'."""

import json
from typing import Any

import pytest
from anthropic.types import Message, RawContentBlockDeltaEvent

from freehold.dialects import chat, messages
from freehold.dialects.conversation import (
    AudioDelta,
    Choice,
    Citation,
    Conversation,
    Event,
    Finished,
    LogprobsDelta,
    OpaqueDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolStarted,
    Turn,
)
from freehold.dialects.messages.citations import read_citation

CHAR = {
    "type": "char_location",
    "cited_text": "q",
    "document_index": 2,
    "document_title": "D",
    "start_char_index": 5,
    "end_char_index": 6,
    "file_id": "file_1",
}
PAGE = {
    "type": "page_location",
    "cited_text": "q",
    "document_index": 0,
    "document_title": None,
    "start_page_number": 1,
    "end_page_number": 2,
}
BLOCK = {
    "type": "content_block_location",
    "cited_text": "q",
    "document_index": 0,
    "document_title": "D",
    "start_block_index": 0,
    "end_block_index": 1,
}
WEB = {
    "type": "web_search_result_location",
    "cited_text": "q",
    "encrypted_index": "E",
    "title": "T",
    "url": "https://a.example",
}
SEARCH = {
    "type": "search_result_location",
    "cited_text": "q",
    "search_result_index": 0,
    "source": "https://b.example",
    "title": None,
    "start_block_index": 0,
    "end_block_index": 1,
}
ALL = [CHAR, PAGE, BLOCK, WEB, SEARCH]
FOREIGN = Citation("https://c.example", "C", "q", 0, 1)


@pytest.mark.parametrize(
    ("raw", "citation"),
    [
        (CHAR, Citation(title="D", quote="q", source=2, file_id="file_1")),
        (PAGE, Citation(quote="q", source=0)),
        (BLOCK, Citation(title="D", quote="q", source=0)),
        (WEB, Citation("https://a.example", "T", "q")),
        (SEARCH, Citation("https://b.example", "https://b.example", "q")),
        ({**SEARCH, "source": "kb-7", "title": "K"}, Citation(title="K", quote="q")),
        ({"type": "new_location", "cited_text": 5}, Citation()),
        ({**CHAR, "document_index": -1, "document_title": 5, "file_id": None}, Citation(quote="q")),
        (None, Citation()),
        ("x", Citation()),
    ],
)
def test_a_citation_is_read_and_kept(raw: Any, citation: Citation) -> None:
    citation.dialect, citation.raw = "messages", raw
    assert read_citation(raw) == citation


def answer(*citations: Any) -> bytes:
    content = [{"type": "text", "text": "ab", "citations": list(citations)}]
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": content}
    usage = {"input_tokens": 1, "output_tokens": 1}
    return json.dumps({**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}).encode()


def test_they_come_back_to_their_own_dialect_unchanged() -> None:
    reply = messages.read_reply(answer(*ALL))
    losses: list[str] = []
    written = messages.write_reply(reply, losses)
    Message.model_validate_json(written)
    assert json.loads(written)["content"] == json.loads(answer(*ALL))["content"]
    turn = {"role": "assistant", "content": json.loads(written)["content"]}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}, turn]}
    conversation = messages.read_request(json.dumps(body).encode())
    assert json.loads(messages.write_request(conversation, losses)) == body
    assert losses == []


def test_chat_sees_those_with_a_name() -> None:
    losses: list[str] = []
    message = json.loads(chat.write_reply(messages.read_reply(answer(*ALL)), losses))["choices"][0]["message"]
    assert [one["type"] for one in message["annotations"]] == ["url_citation", "url_citation", "url_citation"]
    assert [one[one["type"]]["end_index"] for one in message["annotations"]] == [2, 2, 2]
    assert losses == ["citations"]


def test_a_client_sees_others_citations_as_search_results() -> None:
    losses: list[str] = []
    text = Text("ab", citations=[FOREIGN, Citation(title="a book")])
    written = messages.write_reply(Reply("i", "m", [Choice([text])]), losses)
    (block,) = Message.model_validate_json(written).content
    assert block.model_dump()["citations"] == [
        {
            "type": "web_search_result_location",
            "cited_text": "q",
            "encrypted_index": "",
            "title": "C",
            "url": "https://c.example",
        }
    ]
    assert losses == ["content.citations"]


def test_the_provider_gets_only_its_own() -> None:
    made_up = {**WEB, "encrypted_index": ""}
    text = Text("ab", citations=[FOREIGN, read_citation(made_up), read_citation(WEB)])
    turns = [Turn("user", [Text("q")]), Turn("assistant", [text]), Turn("user", [Text("q")])]
    losses: list[str] = []
    body = json.loads(messages.write_request(Conversation("m", turns=turns, dialect="chat"), losses))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "ab", "citations": [WEB]}]
    assert losses == ["messages.1.citations"]


# Streams


def blocks(*given: tuple[dict[str, Any], list[dict[str, Any]]]) -> bytes:
    out = []
    for index, (start, deltas) in enumerate(given):
        out.append({"type": "content_block_start", "index": index, "content_block": start})
        out += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        out.append({"type": "content_block_stop", "index": index})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in out)


def text(content: str, *citations: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    deltas: list[dict[str, Any]] = [{"type": "citations_delta", "citation": one} for one in citations]
    return {"type": "text", "text": ""}, [*deltas, {"type": "text_delta", "text": content}]


def places(events: list[Event]) -> list[tuple[int | None, int | None]]:
    found = [event.citation for event in events if isinstance(event, TextDelta) and event.citation is not None]
    return [(citation.start, citation.end) for citation in found]


def test_a_citation_says_which_words_of_the_run_it_backs() -> None:
    wire = blocks(
        text("ab"),
        text("cde", WEB, CHAR),
        text("f"),
        ({"type": "thinking", "thinking": "", "signature": ""}, []),
        text("gh", WEB),
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, []),
        text("ij", PAGE),
    )
    events = messages.StreamReader().feed(wire)
    assert places(events) == [(2, 5), (2, 5), (6, 8), (0, 2)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "abcdefghij"


def test_a_citation_of_no_block_is_passed_on() -> None:
    event = {"type": "content_block_delta", "index": 7, "delta": {"type": "citations_delta", "citation": WEB}}
    (found,) = messages.StreamReader().feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert found == TextDelta("", citation=read_citation(WEB))


def shown(*events: Event) -> tuple[list[dict[str, Any]], list[str]]:
    writer = messages.StreamWriter("i", "m")
    out = b"".join(writer.write(event) for event in (*events, Finished("stop"))) + writer.close()
    return [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: ")], writer.losses


def test_others_citations_are_streamed_too() -> None:
    events, losses = shown(
        TextDelta("ab"), TextDelta("", citation=FOREIGN), TextDelta("", citation=Citation(title="b"))
    )
    (delta,) = [event for event in events if event.get("delta", {}).get("type") == "citations_delta"]
    RawContentBlockDeltaEvent.model_validate(delta)
    assert delta["delta"]["citation"]["url"] == "https://c.example"
    assert losses == ["content.citations"]


def test_what_a_stream_cannot_show_is_noted() -> None:
    _, losses = shown(
        TextDelta("a", signature="s"),
        TextDelta("b", 1),
        ThinkingDelta("t", choice=1),
        LogprobsDelta({}),
        OpaqueDelta("gemini", {"executableCode": {}}),
        AudioDelta("AAAA"),
    )
    assert losses == [
        "choices",
        "logprobs",
        "content.executableCode",
        "content.audio",
    ]


def test_signatures_of_all_providers_are_kept_for_the_client() -> None:
    signatures = ["EqQB", "gemini:g", "openai:o"]
    body = messages.write_reply(Reply("i", "m", [Choice([Thinking("t", one) for one in signatures])]), [])
    assert [block["signature"] for block in json.loads(body)["content"]] == signatures
    events, losses = shown(*[ThinkingDelta("t", one) for one in signatures], ToolStarted(0, "c", "f"))
    kept = [event["delta"]["signature"] for event in events if event.get("delta", {}).get("type") == "signature_delta"]
    assert kept == signatures
    assert losses == []
