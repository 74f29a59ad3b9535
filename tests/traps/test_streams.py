"""Traps 1 to 14: the framing of streams, and what stands in a frame. What needs a socket is in test_live.py."""

import pytest
from trap_streams import CHAT, CONVERSE, GEMINI, MESSAGES, STREAMS, USAGE, WORDS, candidate, chunk
from trapping import events, heard, sse, streamed, told, whole

from freehold.call.providers import rows
from freehold.dialects import chat, converse, gemini, messages
from freehold.dialects.conversation import Failed, Finished, Started, TextDelta
from freehold.dialects.eventstream import write_exception
from freehold.errors import UpstreamBroken

SDKS = ("chat", "responses", "messages", "gemini")


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("dialect", STREAMS)
@pytest.mark.parametrize("client", SDKS)
def test_01_events_cut_anywhere_joined_and_with_any_line_end(client: str, dialect: str, seed: int) -> None:
    """A chunk of TCP ends inside a character, a line or an event, or holds several; lines may end in CRLF."""
    raw = STREAMS[dialect]
    assert heard(client, dialect, raw, seed).text == WORDS
    if dialect != "converse":
        assert heard(client, dialect, raw.replace(b"\n", b"\r\n").replace(b"data: ", b"data:"), seed).text == WORDS


@pytest.mark.parametrize("dialect", ["chat", "messages", "gemini"])
@pytest.mark.parametrize("client", SDKS)
def test_02_comments_and_pings_are_no_content(client: str, dialect: str) -> None:
    """Hosts keep a quiet connection open with comment lines, Anthropic with events of its own."""
    noise = b": OPENROUTER PROCESSING\n\n"
    if dialect == "messages":
        noise += b'event: ping\ndata: {"type": "ping"}\n\n'
    raw = noise + STREAMS[dialect].replace(b"\n\n", b"\n\n" + noise)
    assert heard(client, dialect, raw)[:3] == (WORDS, [], "stop")


@pytest.mark.parametrize("ends", [0, 1, 2])
@pytest.mark.parametrize("client", SDKS)
def test_03_one_end_of_stream_however_many_came(client: str, ends: int) -> None:
    """`[DONE]` may be missing or come twice. A chat client gets one, the others none."""
    out = streamed(client, "chat", sse(*CHAT) + b"data: [DONE]\n\n" * ends)
    assert told(client, out)[:3] == (WORDS, [], "stop")
    assert out.count("[DONE]") == (client == "chat")


FAILURES = {
    "chat": sse(*CHAT[:3], {"error": {"message": "out of memory", "code": 500}}),
    "messages": sse(*MESSAGES[:3], {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
    "gemini": sse(GEMINI[0], {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}),
    "converse": CONVERSE[:-1][: len(CONVERSE) // 2],
}


@pytest.mark.parametrize("dialect", FAILURES)
@pytest.mark.parametrize("client", SDKS)
def test_04_an_error_inside_a_200_stream_ends_in_the_clients_own_words(client: str, dialect: str) -> None:
    """The status is out when the provider fails. The client must hear of it, and never see a clean end."""
    out = streamed(client, dialect, FAILURES[dialect])
    last = events(out)[-1]
    assert "[DONE]" not in out
    if client == dialect == "messages":
        assert last["error"]["type"] == "overloaded_error"
    elif client == "responses":
        failed = events(out)[-2]  # read by Codex; the event after it is what OpenAI's SDKs raise
        assert (failed["type"], last["type"]) == ("response.failed", "error")
        assert failed["response"]["error"]["message"]
    elif client == dialect == "gemini":
        assert last["error"]["status"] == "UNAVAILABLE"
    else:
        assert last["error"]["message"]
    if client == "messages":
        assert last["type"] == "error"


@pytest.mark.parametrize("client", SDKS)
def test_05_a_whole_completion_as_an_event_is_one_delta(client: str) -> None:
    """Some hosts answer a stream with the object that the other kind of answer would have been."""
    message = {"role": "assistant", "content": WORDS}
    full = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
    full["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    assert heard(client, "chat", sse(full, done=True))[:5] == (WORDS, [], "stop", 5, 4)


def test_06_the_first_id_time_and_served_model_hold() -> None:
    """A gateway behind the provider may change them from chunk to chunk."""
    changed = [one | {"id": f"c{n}", "created": n, "model": f"m-{n}"} for n, one in enumerate(CHAT, 1)]
    reader = chat.StreamReader()
    read = reader.feed(sse(*changed, done=True)) + reader.close()
    assert [event for event in read if isinstance(event, Started)] == [Started("c1", "m-1", 1)]
    shown = events(streamed("messages", "chat", sse(*changed, done=True)))
    assert shown[0]["message"]["model"] == "m-1"
    assert {one["model"] for one in events(streamed("chat", "messages", STREAMS["messages"]))} == {"m"}


@pytest.mark.parametrize("dialect", [name for name in STREAMS if name != "chat"])
def test_07_one_role_and_no_fuss_about_empty_deltas(dialect: str) -> None:
    """OpenAI's clients expect the role in the first delta alone; hosts send empty and null ones."""
    deltas = [c["delta"] for e in events(streamed("chat", dialect, STREAMS[dialect])) for c in e["choices"]]
    assert [delta.get("role") for delta in deltas].count("assistant") == 1
    assert deltas[0]["role"] == "assistant"
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    empties = [
        chunk({}), chunk({"role": "assistant", "content": None, "tool_calls": None}), chunk({"content": ""}),
        chunk({"role": "assistant", "content": None, "tool_calls": [call]}), chunk(None), chunk({}, "tool_calls"),
    ]  # fmt: skip
    for client in SDKS:
        assert heard(client, "chat", sse(*empties, done=True))[:3] == ("", [("f", {})], "tool_calls")


@pytest.mark.parametrize("client", SDKS)
def test_10_binary_frames_and_their_exceptions(client: str) -> None:
    """Bedrock streams frames with checksums; an exception is a frame too, and a damaged one is no answer."""
    assert heard(client, "converse", CONVERSE, 2)[:5] == (WORDS, [], "stop", 5, 4)
    with pytest.raises(UpstreamBroken, match="checksum"):
        streamed(client, "converse", CONVERSE[:150] + b"\x00" + CONVERSE[151:])
    failed = converse.StreamReader().feed(write_exception("throttlingException", b'{"message": "slow down"}'))[-1]
    assert isinstance(failed, Failed)
    assert failed.message == "slow down"


@pytest.mark.parametrize("client", SDKS)
def test_11_geminis_last_chunks_may_have_no_candidate(client: str) -> None:
    """Usage alone, or nothing: neither is text nor the end of the text."""
    bare = [{"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 4}, "modelVersion": "m"}, {}]
    raw = sse(candidate({"text": WORDS}), candidate(finish="STOP"), *bare)
    assert heard(client, "gemini", raw)[:5] == (WORDS, [], "stop", 5, 4)


def test_11_gemini_is_asked_for_events() -> None:
    """Without `alt=sse` it would send one JSON array."""
    assert rows()["gemini"].paths["gemini_stream"].endswith("?alt=sse")
    assert "alt=sse" in rows()["vertex"].paths["gemini_stream"]


@pytest.mark.parametrize("client", SDKS)
def test_12_a_second_message_start_changes_nothing(client: str) -> None:
    """Proxies splice streams: the start of a message comes again, in the middle too."""
    raw = sse(MESSAGES[0], MESSAGES[0], *MESSAGES[1:3], MESSAGES[0], *MESSAGES[3:], named=True)
    out = streamed(client, "messages", raw)
    assert told(client, out)[:5] == (WORDS, [], "stop", 5, 4)
    if client != "messages":
        reader = messages.StreamReader()
        read = reader.feed(raw) + reader.close()
        assert sum(isinstance(event, Started) for event in read) == 1


def test_13_padding_against_listeners_is_no_content() -> None:
    """OpenAI pads deltas with an `obfuscation` field: for its own clients only."""
    padded = [one | {"obfuscation": "AbCd"} for one in CHAT]
    assert streamed("chat", "chat", sse(*padded, done=True)).count('"obfuscation"') == len(CHAT)
    for client in ("responses", "messages", "gemini"):
        out = streamed(client, "chat", sse(*padded, done=True))
        assert "AbCd" not in out
        assert told(client, out).text == WORDS


def test_07_finish_and_text_of_each_reader_agree() -> None:
    """The events of every reader: text, then one finish."""
    for reader, raw in ((chat.StreamReader(), STREAMS["chat"]), (gemini.StreamReader(), STREAMS["gemini"])):
        read = reader.feed(raw) + reader.close()
        assert "".join(event.text for event in read if isinstance(event, TextDelta)) == WORDS
        assert [event.finish for event in read if isinstance(event, Finished)] == ["stop"]


def test_05_a_whole_answer_keeps_what_its_stream_would_say() -> None:
    """The same object, asked for whole, reads the same."""
    answer = {"id": "c", "model": "m", "choices": [{"message": {"content": WORDS}, "finish_reason": "stop"}]}
    assert told("messages", whole("messages", "chat", answer)).text == WORDS
