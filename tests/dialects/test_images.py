"""Images: requests in JSON and as forms, answers metered and written, streams passed through, Google's forms."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ImageEditStreamEvent, ImageGenStreamEvent, ImagesResponse
from pydantic import TypeAdapter

from freehold.dialects import images
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.images import ImageReply, MadeImage, StreamRelay
from freehold.dialects.multipart import File, write_form
from freehold.dialects.peek import MEDIA_BYTES
from freehold.dialects.sse import SseParser
from freehold.errors import BadRequest, FreeholdError, LossRefused, UpstreamBroken, UpstreamRefused

JSON = "application/json"
PNG = File(b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png", "image/png")
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 20},
    "output_tokens": 272,
    "total_tokens": 302,
}


def encoded(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "a house", **fields}).encode()


def events(stream: bytes) -> list[Any]:
    parser = SseParser()
    return [json.loads(data) for _, data in [*parser.feed(stream), *parser.close()]]


# Requests


def test_peek() -> None:
    peeked = images.peek("generations", encoded(n=2, quality="high", stream=True), JSON)
    assert (peeked.model, peeked.stream, peeked.n, peeked.max_tokens) == ("m", True, 2, 4160)
    assert peeked.input_bytes == len('"a house"')
    assert not peeked.images
    body, kind = write_form([("model", "m"), ("prompt", "abcd"), ("image[]", PNG), ("image[]", PNG), ("n", "3")])
    peeked = images.peek("edits", body, kind)
    assert (peeked.images, peeked.n, peeked.input_bytes, peeked.stream) == (True, 3, 4 + 2 * MEDIA_BYTES, False)
    by_reference = encoded(images=[{"image_url": "data:image/png;base64," + "A" * 100_000}, {"file_id": "f"}])
    peeked = images.peek("edits", by_reference, JSON)
    assert peeked.input_bytes == len('"a house"') + 2 * MEDIA_BYTES


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "param"),
    [
        ("generations", b'{"prompt":"x"}', JSON, "model"),
        ("generations", b'{"model":"m"}', JSON, "prompt"),
        ("generations", b'{"model":"m","prompt":7}', JSON, "prompt"),
        ("generations", b'{"model":7,"prompt":"x"}', JSON, "model"),
        ("generations", b'{"model":"m","prompt":"x","n":0}', JSON, "n"),
        ("generations", b'{"model":"m","prompt":"x","n":1000000}', JSON, "n"),
        ("generations", b'{"model":"m","prompt":"x","n":"2"}', JSON, "n"),
        ("edits", b'{"model":"m","prompt":"x"}', JSON, "images"),
        ("edits", *write_form([("model", "m"), ("prompt", "p")]), "image"),
        ("edits", *write_form([("model", "m"), ("image", PNG)]), "prompt"),
        ("edits", *write_form([("prompt", "p"), ("image", PNG)]), "model"),
        ("edits", *write_form([("model", "m"), ("prompt", "p"), ("image", "text")]), "image"),
        ("edits", *write_form([("model", "m"), ("prompt", "p"), ("image", PNG), ("n", "two")]), "n"),
        ("variations", *write_form([("model", "m")]), "image"),
    ],
)
def test_requests_that_are_wrong(kind: Any, body: bytes, content_type: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        images.peek(kind, body, content_type)
    assert caught.value.param == param


def test_a_form_and_json_say_the_same() -> None:
    body, kind = write_form(
        [("model", "m"), ("prompt", "p"), ("image[]", PNG), ("n", "2"), ("size", "1024x1024"), ("stream", "true"),
         ("partial_images", "1"), ("mask", PNG)]
    )  # fmt: skip
    form = images.read_request("edits", body, kind)
    data = base64.b64encode(PNG.data).decode()
    given_json = encoded(
        prompt="p", images=[{"image_url": f"data:image/png;base64,{data}"}], n=2, size="1024x1024", stream=True,
        partial_images=1, mask={"file_id": "f"}, background=None,
    )  # fmt: skip
    assert form == images.read_request("edits", given_json, JSON)
    assert form.images[0].media_type == "image/png"
    assert form.settings == {"size": "1024x1024", "partial_images": 1}


def test_only_the_model_changes() -> None:
    body = b'{ "model" : "asked", "prompt":"x", "odd":[1, 2], "n":1e0 }'
    patched = images.patch_request("generations", body, JSON, model="mine")
    assert json.loads(patched) == {**json.loads(body), "model": "mine"}
    assert b"[1, 2]" in patched
    assert images.patch_request("generations", body, JSON, model="asked") is body
    form, kind = write_form([("model", "asked"), ("prompt", "p"), ("image", PNG)])
    assert images.patch_request("edits", form, kind, model="mine") == form.replace(b"\r\nasked\r\n", b"\r\nmine\r\n")


# Answers


def test_receipts() -> None:
    body = json.dumps({"created": 1, "data": [{"b64_json": "A" * 1000}] * 2, "usage": USAGE, "model": "gpt"}).encode()
    receipt = images.read_receipt(body)
    assert receipt.usage == Usage(uncached=30, output=272, image_input=20, image_output=272, images=2)
    assert receipt.model == "gpt"
    silent = images.read_receipt(b'{"created":1,"data":[{"url":"https://x"}]}')
    assert silent.usage is not None
    assert silent.usage.estimated
    assert silent.usage.images == 1
    assert silent.usage.output < 2000, "an image is no text of its size"
    svg = images.read_receipt(
        json.dumps({"data": [{}], "usage": USAGE, "svg_usage": {"input_tokens": 5, "output_tokens": 7}}).encode()
    )
    assert svg.usage is not None
    assert (svg.usage.uncached, svg.usage.output) == (35, 279)
    failed = images.read_receipt(b'{"error":{"message":"no"},"data":null}')
    assert failed.failed is not None
    for broken in (b"", b"[]", b"{}", b'{"data":7}', b"\xff"):
        with pytest.raises(UpstreamBroken):
            images.read_receipt(broken)


def test_written_answers_fit_the_sdk() -> None:
    reply = ImageReply("m", [MadeImage("QUJD", "image/jpeg", "a nicer house")], Usage(10, 0, 0, 0, 20, image_output=20))
    written = ImagesResponse.model_validate_json(images.write_reply(reply, 7), strict=True)
    assert written.data[0].revised_prompt == "a nicer house"
    assert written.output_format == "jpeg"
    assert written.usage.output_tokens_details.image_tokens == 20
    for kind, union in (("generations", ImageGenStreamEvent), ("edits", ImageEditStreamEvent)):
        both = ImageReply("m", [MadeImage("QUJD"), MadeImage("REVG")], reply.usage)
        written_events = events(images.write_events(kind, both, {"size": "1024x1024"}, 7))  # type: ignore[arg-type]
        read = [TypeAdapter(union).validate_python(event, strict=True) for event in written_events]
        assert sum(event.usage.output_tokens for event in read) == 20


# Streams


def partial(index: int) -> bytes:
    event = {"type": "image_generation.partial_image", "b64_json": "QUJD", "partial_image_index": index, "odd": 1}
    return b"event: image_generation.partial_image\ndata: " + json.dumps(event).encode() + b"\n\n"


COMPLETED = b"data: " + json.dumps({"type": "image_generation.completed", "b64_json": "Q", "usage": USAGE}).encode()
STREAM = b": hi\n\n" + partial(0) + partial(1) + COMPLETED + b"\n\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_a_stream_passes_however_it_is_cut(cuts: list[int]) -> None:
    relay = StreamRelay()
    places = [0, *sorted(cuts), len(STREAM)]
    out = b"".join(relay.feed(STREAM[a:b]) for a, b in zip(places, places[1:], strict=False)) + relay.close()
    assert out == STREAM
    assert relay.complete
    assert relay.started
    assert relay.usage == Usage(uncached=30, output=272, image_input=20, image_output=272, images=1)


@given(st.integers(0, len(STREAM) - 3))
def test_a_stream_that_ends_early_is_not_complete(end: int) -> None:
    relay = StreamRelay()
    out = relay.feed(STREAM[:end]) + relay.close()
    assert not relay.complete
    assert STREAM.startswith(out)


def test_several_images_are_several_events() -> None:
    relay = StreamRelay("generations", 2)
    relay.feed(COMPLETED + b"\n\n")
    assert not relay.complete, "a cut here would lose an image"
    relay.feed(COMPLETED + b"\n\n")
    assert relay.complete
    assert relay.usage is not None
    assert (relay.usage.uncached, relay.usage.output, relay.usage.images) == (60, 544, 2)
    fewer = StreamRelay("generations", 2)
    fewer.feed(COMPLETED + b"\n\n")
    fewer.close()
    assert fewer.complete, "the provider ended it properly"


def test_errors_in_a_stream() -> None:
    for told in (b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n', b'data: {"error":"no"}\n\n'):
        relay = StreamRelay()
        assert relay.feed(told) == told
        assert relay.failed is not None
        assert relay.failed.message == "no"
        assert relay.told
    with pytest.raises(UpstreamBroken):
        StreamRelay().feed(b"data: not json\n\n")
    shown = events(StreamRelay().fail(UpstreamBroken("cut"), "req_1"))
    assert shown[0]["error"]["message"] == "cut"


def test_a_host_without_streams_answers_all_the_same() -> None:
    body = json.dumps({"created": 7, "data": [{"b64_json": "QUJD"}, {"b64_json": "REVG"}], "usage": USAGE}).encode()
    relay = StreamRelay("edits", 2)
    assert relay.feed(body[:3]) + relay.feed(body[3:]) == b""
    shown = events(relay.close())
    assert [event["b64_json"] for event in shown] == ["QUJD", "REVG"]
    read = [TypeAdapter(ImageEditStreamEvent).validate_python(event) for event in shown]
    assert read[1].usage.output_tokens == 272
    assert relay.complete
    assert relay.usage is not None
    assert relay.usage.images == 2
    assert relay.close() == b""
    failed = StreamRelay()
    failed.feed(b'{"error":{"message":"no"}}')
    assert b'"no"' in failed.close()
    assert failed.failed is not None
    broken = StreamRelay()
    broken.feed(b"<html>gateway timeout</html>")
    with pytest.raises(UpstreamBroken):
        broken.close()


# Google


def gemini(**fields: Any) -> tuple[Any, Losses]:
    losses: Losses = []
    request = images.read_request("generations", encoded(**fields), JSON)
    return json.loads(images.write_gemini_request(request, losses)), losses


def test_to_gemini() -> None:
    body, losses = gemini()
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "a house"}]}],
        "generationConfig": {"responseModalities": ["IMAGE"]},
    }
    assert losses == []
    _, losses = gemini(quality="auto", background="opaque", output_format="png", n=1, moderation="auto", size="auto")
    assert losses == []
    _, losses = gemini(quality="high", user="u", background="transparent", output_format="webp", odd=1)
    assert losses == ["quality", "user", "background", "output_format", "odd"]


@pytest.mark.parametrize(
    ("size", "shape", "lost"),
    [
        ("1024x1024", {"aspectRatio": "1:1"}, False),
        ("1536x1024", {"aspectRatio": "3:2"}, False),
        ("1024x1792", {"aspectRatio": "9:16"}, False),
        ("2048x2048", {"aspectRatio": "1:1", "imageSize": "2K"}, False),
        ("3840x2160", {"aspectRatio": "16:9", "imageSize": "4K"}, False),
        ("1000x900", {"aspectRatio": "1:1"}, True),
    ],
)
def test_sizes(size: str, shape: dict[str, str], lost: bool) -> None:
    body, losses = gemini(size=size)
    assert body["generationConfig"]["imageConfig"] == shape
    assert losses == (["size"] if lost else [])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": "url"}, "response_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"svg": {"model": "x"}}, "svg"),
        ({"frame_count": 3}, "frame_count"),
    ],
)
def test_what_gemini_cannot_do(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(LossRefused) as caught:
        gemini(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_wrong_values_for_gemini() -> None:
    for fields, param in (({"size": "big"}, "size"), ({"size": 7}, "size"), ({"prompt": " "}, "prompt")):
        with pytest.raises(BadRequest) as caught:
            gemini(**fields)
        assert caught.value.param == param


def test_edits_to_gemini() -> None:
    request = images.read_request(
        "edits",
        encoded(images=[{"image_url": "https://x.example/a.webp"}, {"image_url": "data:;base64,iVBORw0KGgo="}]),
        JSON,
    )
    parts = json.loads(images.write_gemini_request(request, []))["contents"][0]["parts"]
    assert parts[1] == {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.example/a.webp"}}
    assert parts[2] == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    for given_images, extra, param in (([{"file_id": "f"}], {}, "images.0"), ([], {"mask": {"file_id": "f"}}, "mask")):
        request = images.read_request("edits", encoded(images=given_images, **extra), JSON)
        with pytest.raises(LossRefused) as caught:
            images.write_gemini_request(request, [])
        assert caught.value.param == param


def test_to_imagen_and_back() -> None:
    losses: Losses = []
    request = images.read_request("generations", encoded(n=4, size="1536x1024", quality="low"), JSON)
    body = json.loads(images.write_imagen_request(request, losses))
    assert body["parameters"] == {"sampleCount": 4, "aspectRatio": "4:3"}
    assert losses == ["quality", "size"]
    answer = {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "QUJD", "prompt": "p"}, {"odd": 1}]}
    reply = images.read_imagen_reply(json.dumps(answer).encode(), "imagen")
    assert [(image.data, image.revised_prompt) for image in reply.images] == [("QUJD", "p")]
    with pytest.raises(UpstreamRefused, match="unsafe"):
        images.read_imagen_reply(b'{"predictions":[{"raiFilteredReason":"unsafe"}]}')
    with pytest.raises(LossRefused):
        images.write_imagen_request(images.read_request("edits", encoded(images=[]), JSON), [])


def test_from_gemini() -> None:
    answer = {
        "candidates": [{"content": {"parts": [
            {"thought": True, "inlineData": {"mimeType": "image/png", "data": "RFJBRlQ="}},
            {"text": "Here it is"}, {"inlineData": {"mimeType": "image/jpeg", "data": "QUJD"}, "thoughtSignature": "x"},
        ]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1290, "totalTokenCount": 1299,
                          "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
        "modelVersion": "gemini-x", "responseId": "r",
    }  # fmt: skip
    reply = images.read_gemini_reply(json.dumps(answer).encode())
    assert reply.images == [MadeImage("QUJD", "image/jpeg")]
    assert reply.usage == Usage(uncached=9, output=1290, image_output=1290, images=1)
    with pytest.raises(UpstreamRefused, match="blocked"):
        images.read_gemini_reply(b'{"promptFeedback":{"blockReason":"SAFETY"}}')
    with pytest.raises(UpstreamBroken, match="error"):
        images.read_gemini_reply(b'{"error":{"code":500,"message":"oops"}}')
    with pytest.raises(UpstreamBroken):
        images.read_gemini_reply(b"[]")


VALID = [
    json.dumps({"created": 1, "data": [{"b64_json": "QUJD"}], "usage": USAGE}).encode(),
    b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"QUJD"}}]},"finishReason":"STOP"}],'
    b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":12,"candidatesTokensDetails":[{"modality":"IMAGE"}]}}',
    b'{"predictions":[{"mimeType":"image/png","bytesBase64Encoded":"QUJD"}]}',
    STREAM,
]
LIES = (b"null", b"-1", b"1e400", b"NaN", b"[]", b"{}", b'""', b"true", b"99999999999999999999999", b"\xff")


@given(st.sampled_from(VALID), st.integers(0, 10**6), st.integers(0, 12), st.sampled_from(LIES))
def test_lies_are_no_crash(valid: bytes, where: int, cut: int, lie: bytes) -> None:
    at = where % len(valid)
    mangled = valid[:at] + lie + valid[at + cut :]
    for read in (images.read_receipt, images.read_gemini_reply, images.read_imagen_reply, _relayed):
        try:
            read(mangled)
        except FreeholdError as error:
            assert error.fault == "provider"  # noqa: PT017  any other exception is the failure


def _relayed(body: bytes) -> None:
    relay = StreamRelay()
    relay.feed(body)
    relay.close()


@given(st.sampled_from(["generations", "edits", "variations"]), st.binary(max_size=60), st.integers(0, 10**6))
def test_odd_requests_are_bad_requests(kind: Any, noise: bytes, where: int) -> None:
    form, content_type = write_form([("model", "m"), ("prompt", "p"), ("image", PNG), ("n", "1"), ("size", "1x1")])
    for body, said in ((form, content_type), (encoded(images=[{"image_url": "data:,"}], size="1x1", n=1), JSON)):
        at = where % len(body)
        mangled = body[:at] + noise + body[at:]
        for read in (images.peek, images.read_request):
            try:
                read(kind, mangled, said)
            except FreeholdError as error:
                assert error.status == 400  # noqa: PT017
