"""Each fault, seen by a raw client: the wire shows what the table says."""

import asyncio
import json
import zlib
from typing import Any

import pytest

from freehold.errors import ConfigError
from freehold.fake import FakeProvider, Script
from freehold.fake.ask import Request
from freehold.fake.engine import Engine
from freehold.fake.faults import FAULTS, find

TEXT = "Hello from the fake provider: nobody was billed for this."
CONNECTION = [name for name, fault in FAULTS.items() if fault.frame.__module__.endswith("connection")]


def events(body: bytes) -> list[Any]:
    """The decoded `data:` lines of a well-formed stream, without `[DONE]`."""
    lines = [line[5:].strip() for line in body.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def text(body: bytes) -> str:
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events(body) if e.get("choices"))


def test_the_table_is_complete_and_described() -> None:
    assert len(FAULTS) >= 40
    assert all(fault.summary and fault.name == name for name, fault in FAULTS.items())


def test_an_unknown_fault_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        find("stall_midstream")
    assert "stall_mid_stream" in (caught.value.hint or "")


async def test_a_fault_that_cannot_happen_is_refused_not_skipped(ask: Any) -> None:
    seen = await ask("fault=crlf")
    assert b"http/1.1 400" in seen.head
    assert b"applies to sse" in seen.body
    seen = await ask("fault=usage_missing", path="/v1/embeddings", body={"model": "m", "input": "a"})
    assert b"http/1.1 400" in seen.head


PATHS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": []}),
    ("/v1/completions", {"prompt": "hi"}),
    ("/v1/responses", {"input": "hi"}),
    ("/v1/messages", {"max_tokens": 9, "messages": []}),
    ("/v1beta/models/m:generateContent", {"contents": []}),
    ("/v1beta/models/m:streamGenerateContent", {"contents": []}),
    ("/v1beta/models/m:streamGenerateContent?alt=sse", {"contents": []}),
    ("/v1/embeddings", {"input": "hi"}),
    ("/model/m/converse", {"messages": []}),
    ("/model/m/converse-stream", {"messages": []}),
    ("/v2/chat", {"messages": []}),
    ("/mistral/v1/chat/completions", {"messages": []}),
    ("/api/chat", {"messages": []}),
    ("/api/generate", {"prompt": "hi"}),
]


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_is_framed_or_refused_in_every_dialect(name: str) -> None:
    engine = Engine(Script(cap=3))
    happened = 0
    for path, fields in PATHS:
        for stream in (False, True):
            body = json.dumps({"model": "m", "stream": stream, **fields}).encode()
            request = Request(b"POST", path.encode(), {b"x-fake": f"fault={name}".encode()}, body, 0.0)
            prepared = engine.respond(request)
            steps = list(prepared.steps)
            assert steps
            if prepared.fault is None:
                assert prepared.status == 400
                first = steps[0]
                assert isinstance(first, bytes)
                assert b"not possible here" in first or b"rewrites" in first
            happened += prepared.fault == name
    assert happened


async def test_cuts(ask: Any) -> None:
    seen = await ask("fault=cut_before_headers")
    assert (seen.raw, seen.ended) == (b"", "fin")
    seen = await ask("fault=cut_after_headers", stream=True)
    assert seen.raw.endswith(b"\r\n\r\n")
    assert (seen.body, seen.ended) == (b"", "fin")
    seen = await ask("fault=cut_mid_event", stream=True)
    assert b"Hello" in seen.body
    assert not seen.body.endswith(b"\n\n")
    assert seen.ended == "fin"
    seen = await ask("fault=cut_mid_event")
    declared = int(seen.head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(seen.body) < declared
    seen = await ask("fault=cut_between_events", stream=True)
    assert seen.body.endswith(b"\n\n")
    assert b"[DONE]" not in seen.body
    assert not seen.raw.endswith(b"0\r\n\r\n")
    assert TEXT.startswith(text(seen.body))
    seen = await ask("fault=end_between_events", stream=True)
    assert seen.raw.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in seen.body


async def test_resets(ask: Any) -> None:
    seen = await ask("fault=reset_before_headers")
    assert (seen.raw, seen.ended) == (b"", "rst")
    seen = await ask("fault=reset_mid_stream", stream=True)
    assert b"Hello" in seen.body
    assert seen.ended == "rst"


async def test_stalls(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=stall_before_headers")
    assert (seen.raw, seen.ended) == (b"", "silent")
    seen = await ask("fault=stall_after_headers", stream=True)
    assert (seen.body, seen.ended) == (b"", "silent")
    assert b"text/event-stream" in seen.head
    seen = await ask("fault=stall_mid_stream", stream=True)
    assert seen.body.endswith(b"\n\n")
    assert b"[DONE]" not in seen.body
    await fake.until(lambda served: served.totals.cancelled == 3)
    assert {row.ended for row in fake.served.rows} == {"client_fin"}


async def test_a_stall_is_bounded(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=stall_mid_stream; stall=20", stream=True, patience=5)
    assert seen.ended == "rst"
    assert fake.served.totals.cut == 1


async def test_half_open_does_not_notice_the_client_leaving(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=half_open; stall=500", stream=True)
    assert seen.ended == "silent"
    assert b"Hello" in seen.body
    await fake.until(lambda served: served.totals.cut == 1)
    assert fake.served.totals.cancelled == 0


async def test_half_close(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=half_close; stall=2000", stream=True, patience=5)
    assert seen.ended == "fin"
    assert b"Hello" in seen.body
    await fake.until(lambda served: served.totals.cancelled == 1)


async def test_close_after_reply(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=close_after_reply", keep_alive=True, patience=5)
    assert seen.ended == "fin"
    assert json.loads(seen.body)["choices"]
    assert b"connection: close" not in seen.head
    assert fake.served.totals.complete == 1


async def test_slow_headers_and_bytes_arrive_whole(ask: Any) -> None:
    seen = await ask("fault=slow_headers; event=1", patience=1)
    assert json.loads(seen.body)["choices"]
    assert len(seen.reads) > 50
    seen = await ask("fault=byte_by_byte", stream=True, patience=0.5)
    assert text(seen.body) == TEXT
    assert b"\r\n1\r\nH\r\n" in seen.raw


async def test_lies_about_length(ask: Any) -> None:
    for name, sign in (("content_length_short", 1), ("content_length_long", -1)):
        seen = await ask(f"fault={name}")
        declared = int(seen.head.split(b"content-length: ")[1].split(b"\r\n")[0])
        assert (len(seen.body) - declared) * sign > 0
        assert seen.ended == "fin"


async def test_chunk_framing(ask: Any) -> None:
    seen = await ask("fault=bad_chunk_size", stream=True)
    assert b"\r\nzz\r\n" in seen.raw
    seen = await ask("fault=no_last_chunk", stream=True)
    assert text(seen.body) == TEXT
    assert seen.body.endswith(b"[DONE]\n\n")
    assert not seen.raw.endswith(b"0\r\n\r\n")
    assert seen.ended == "fin"


async def test_status_lines(ask: Any) -> None:
    assert (await ask("fault=bad_status_line")).raw.startswith(b"ICY 2OO")
    seen = await ask("fault=early_hints")
    assert seen.raw.startswith(b"HTTP/1.1 103 ")
    assert b"HTTP/1.1 200 OK" in seen.raw
    seen = await ask("fault=redirect")
    assert b"http/1.1 307" in seen.head
    assert b"location: /__fake__/redirected" in seen.head


async def test_failures_cost_nothing(ask: Any, fake: FakeProvider) -> None:
    seen = await ask("fault=html_502")
    assert b"http/1.1 502" in seen.head
    assert b"text/html" in seen.head
    assert seen.body.startswith(b"<html>")
    assert fake.served.rows[-1].status == 502
    assert fake.served.totals.input_tokens == fake.served.totals.output_tokens == 0


async def test_bodies_that_are_not_what_they_say(ask: Any) -> None:
    assert (await ask("fault=empty_body")).body == b""
    assert (await ask("fault=null_body")).body == b"null"
    assert b"text/plain" in (await ask("fault=wrong_content_type")).head
    seen = await ask("fault=bad_json_body")
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)
    seen = await ask("fault=json_instead_of_stream", stream=True)
    assert json.loads(seen.body)["object"] == "chat.completion"
    assert b"application/json" in seen.head
    seen = await ask("fault=stream_instead_of_json")
    assert text(seen.body) == TEXT


async def test_gzip(ask: Any) -> None:
    seen = await ask("fault=gzip_unasked")
    assert b"content-encoding: gzip" in seen.head
    assert json.loads(zlib.decompress(seen.body, wbits=31))["choices"]
    seen = await ask("fault=gzip_unasked", stream=True)
    assert text(zlib.decompress(seen.body, wbits=31)) == TEXT
    seen = await ask("fault=gzip_bomb")
    assert len(seen.body) < 1 << 17
    assert len(zlib.decompress(seen.body, wbits=31)) > 64 << 20
    seen = await ask("fault=gzip_corrupt")
    assert b"content-encoding: gzip" in seen.head
    assert json.loads(seen.body)


async def test_one_broken_event(ask: Any) -> None:
    seen = await ask("fault=bad_json_event", stream=True)
    broken = 0
    for line in seen.body.decode().splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            try:
                json.loads(line[5:])
            except json.JSONDecodeError:
                broken += 1
    assert broken == 1
    assert seen.body.endswith(b"[DONE]\n\n")


async def test_text_encodings(ask: Any) -> None:
    for stream in (False, True):
        seen = await ask("fault=invalid_utf8", stream=stream)
        with pytest.raises(UnicodeDecodeError):
            seen.body.decode()
        seen = await ask("fault=split_utf8", stream=stream)
        assert any(0x80 <= read.partition(b"\r\n")[2][:1][0] < 0xC0 for read in seen.reads[1:] if b"\r\n" in read[:-2])
        said = text(seen.body) if stream else json.loads(seen.body)["choices"][0]["message"]["content"]
        assert said == "Grüße an die 世界 🌍!"
        assert (await ask("fault=bom", stream=stream)).body.startswith(b"\xef\xbb\xbf")


async def test_line_ends(ask: Any) -> None:
    plain = (await ask(stream=True)).body
    number = plain.split(b'"id":"chatcmpl-')[1][:16]
    for name, end in (("crlf", b"\r\n"), ("cr", b"\r")):
        body = (await ask(f"fault={name}", stream=True)).body
        assert text(body.replace(end, b"\n")) == TEXT
        assert body.count(end) == plain.count(b"\n")
        assert number not in body
    mixed = (await ask("fault=mixed_line_ends", stream=True)).body
    assert b"\r\n\r\n" in mixed
    assert b"}\r\r" in mixed
    assert b"}\n\n" in mixed


async def test_data_without_a_space(ask: Any) -> None:
    body = (await ask("fault=no_space", stream=True)).body
    assert b"data: " not in body
    assert text(body) == TEXT
    body = (
        await ask(
            "fault=no_space",
            path="/v1/messages",
            body={"model": "m", "max_tokens": 9, "messages": [], "stream": True},
        )
    ).body
    assert b"event:message_start\ndata:{" in body


async def test_comments_and_long_lines(ask: Any) -> None:
    body = (await ask("fault=comments", stream=True)).body
    assert body.count(b": PROCESSING\n\n") > 5
    assert text(body) == TEXT
    body = (await ask("fault=long_line", stream=True, patience=0.5)).body
    assert len(text(body)) == 1 << 20


async def test_end_markers(ask: Any) -> None:
    assert b"[DONE]" not in (await ask("fault=no_done", stream=True)).body
    assert (await ask("fault=double_done", stream=True)).body.count(b"[DONE]") == 2
    assert (await ask("fault=no_final_newline", stream=True)).body.endswith(b"data: [DONE]")
    messages = {"model": "m", "max_tokens": 9, "messages": [], "stream": True}
    body = (await ask("fault=no_done", path="/v1/messages", body=messages)).body
    assert b"message_delta" in body
    assert b"message_stop" not in body
    body = (
        await ask("fault=no_done", path="/v1beta/models/m:streamGenerateContent?alt=sse", body={"contents": []})
    ).body
    assert b"finishReason" not in body
    assert events(body)


async def test_an_endless_stream_ends_at_the_cap(fake: FakeProvider, ask: Any) -> None:
    fake.script = {"cap": 300}
    seen = await ask("fault=endless", stream=True)
    assert 300 <= len(events(seen.body)) < 320
    assert seen.ended == "fin"


async def test_error_event(ask: Any) -> None:
    body = (await ask("fault=error_event", stream=True)).body
    assert events(body)[-1]["error"]["message"] == "Overloaded"
    assert b"[DONE]" not in body
    messages = {"model": "m", "max_tokens": 9, "messages": [], "stream": True}
    body = (await ask("fault=error_event", path="/v1/messages", body=messages)).body
    assert b"event: error\n" in body
    assert events(body)[-1]["error"]["type"] == "overloaded_error"


async def test_objects_in_the_wrong_place(ask: Any) -> None:
    body = (await ask("fault=full_object_in_stream", stream=True)).body
    assert events(body)[0]["object"] == "chat.completion"
    messages = {"model": "m", "max_tokens": 9, "messages": [], "stream": True}
    body = (await ask("fault=duplicate_start", path="/v1/messages", body=messages)).body
    assert body.count(b"event: message_start") == 2
    assert json.loads((await ask("fault=empty_choices")).body)["choices"] == []
    body = (await ask("fault=empty_choices", stream=True)).body
    assert sum(event["choices"] == [] for event in events(body)) == 2
    assert text(body) == TEXT
    gemini = "/v1beta/models/m:streamGenerateContent"
    body = (await ask("fault=empty_choices", path=gemini, body={"contents": []})).body
    assert sum(item["candidates"] == [] for item in json.loads(body)) == 1


async def test_truncated_arguments(ask: Any) -> None:
    call = json.loads((await ask("fault=truncated_arguments")).body)["choices"][0]
    assert call["finish_reason"] == "tool_calls"
    with pytest.raises(json.JSONDecodeError):
        json.loads(call["message"]["tool_calls"][0]["function"]["arguments"])


async def test_usage_lies_do_not_change_the_bill(ask: Any, fake: FakeProvider) -> None:
    for name in ("usage_missing", "usage_negative", "usage_absurd"):
        for stream in (False, True):
            await ask(f"fault={name}", stream=stream)
    assert "usage" not in json.loads((await ask("fault=usage_missing")).body)
    assert json.loads((await ask("fault=usage_negative")).body)["usage"]["prompt_tokens"] < 0
    assert json.loads((await ask("fault=usage_absurd")).body)["usage"]["total_tokens"] > 10**15
    assert all(0 < row.input_tokens < 100 and 0 < row.output_tokens < 100 for row in fake.served.rows)


@pytest.mark.parametrize("name", CONNECTION)
async def test_connection_faults_leave_the_fake_alive(name: str, ask: Any, fake: FakeProvider) -> None:
    for stream in (False, True):
        await ask(f"fault={name}; stall=10", stream=stream, patience=0.05)
    assert json.loads((await ask()).body)["choices"]
    await asyncio.wait_for(fake.until(lambda served: all(row.ended != "open" for row in served.rows)), 5)
