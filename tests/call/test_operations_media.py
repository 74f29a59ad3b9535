"""Media operations between the official SDK and the fake provider: the SDK's own bytes in, the fake's own bytes out.

The gateway between them is a page of ASGI: it does with a `MediaPrepared` what call/attempts.py and serve/answer.py do.
"""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from freehold.call.breaker import Breaker
from freehold.call.operations_media import Images, MediaPrepared, Speak, Transcribe
from freehold.call.target import Address, Target
from freehold.call.transport import Flight, Origin, Pool
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects.audio import write_error
from freehold.dialects.receipt import Receipt
from freehold.dialects.traits import PLAIN
from freehold.errors import BadRequest, FreeholdError, LossRefused, UpstreamBroken, UpstreamRefused
from freehold.fake import FakeProvider

OPENAI = {
    "images": "/images/generations",
    "image_edits": "/images/edits",
    "image_variations": "/images/variations",
    "speech": "/audio/speech",
    "transcriptions": "/audio/transcriptions",
    "translations": "/audio/translations",
}
GEMINI = {
    "gemini": "/v1beta/models/{model}:generateContent",
    "gemini_stream": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    "predict": "/v1beta/models/{model}:predict",
}
OPERATIONS: dict[str, Callable[[bytes, str], Any]] = {
    "/v1/images/generations": lambda body, kind: Images("generations", body, kind),
    "/v1/images/edits": lambda body, kind: Images("edits", body, kind),
    "/v1/images/variations": lambda body, kind: Images("variations", body, kind),
    "/v1/audio/speech": lambda body, kind: Speak(body),
    "/v1/audio/transcriptions": lambda body, kind: Transcribe("transcriptions", body, kind),
    "/v1/audio/translations": lambda body, kind: Transcribe("translations", body, kind),
}


def strict(model: Any) -> Any:
    return type(model).model_validate(model.model_dump(mode="json", warnings="error"), strict=False)


class Gateway:
    """One deployment behind an ASGI application; remembers what the last request came to."""

    def __init__(self, url: str, dialect: str = "chat", model: str = "the-model") -> None:
        base = f"{url}/v1" if dialect != "gemini" else url
        self.pool = Pool(Origin.parse(base), connect_timeout=2.0, limit=4)
        paths = GEMINI if dialect == "gemini" else OPENAI
        deployment = Deployment(f"fake/{model}", "fake", model, dialect)
        headers = [(b"authorization", b"Bearer upstream-key")]
        self.target = Target(deployment, Address(self.pool, paths, headers), PLAIN, Timeouts(), Breaker(5, 1.0))
        self.receipt: Receipt | None = None
        self.relay: Any = None
        self.losses: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        kind = dict(scope["headers"]).get(b"content-type", b"").decode()
        try:
            operation = OPERATIONS[scope["path"]](body, kind)
            prepared = operation.prepare(self.target)
            self.losses = prepared.losses
            await self._answer(operation.peek.stream, prepared, send)
        except FreeholdError as error:
            await self._send(send, error.status, b"application/json", write_error(error, "req_1"))

    async def _answer(self, stream: bool, prepared: MediaPrepared, send: Any) -> None:
        flight = Flight(asyncio.get_running_loop().time())
        connection = await self.pool.acquire(flight)
        length = b"content-length: %d\r\n\r\n" % len(prepared.body)
        connection.send(flight, prepared.head + length + prepared.body)
        try:
            status = await connection.head()
            fields = connection.fields()
            if status != 200:
                raise prepared.read_error(status, fields, await connection.read(1 << 20))
            if stream:
                kind = prepared.answer_type(fields) if prepared.answer_type else b"text/event-stream"
                await self._stream(prepared, connection, kind, send)
            else:
                kind = prepared.answer_type(fields) if prepared.answer_type else b"application/json"
                whole, self.receipt = prepared.read(await connection.read(1 << 28))
                await self._send(send, 200, kind, whole)
        finally:
            connection.finish()

    async def _stream(self, prepared: MediaPrepared, connection: Any, kind: bytes, send: Any) -> None:
        self.relay = relay = prepared.relay()
        out = b""
        try:
            while relay.failed is None and (chunk := await connection.chunk()):
                out += relay.feed(chunk)
            out += relay.close() if relay.failed is None else b""
            broken = None if relay.complete else UpstreamBroken("the provider's stream broke")
        except UpstreamBroken as error:
            broken = error
        if broken is not None and relay.raw:
            raise ConnectionResetError  # cut: the client sees an answer without its end
        if broken is not None and not (relay.failed is not None and relay.told):
            out += relay.fail(broken, "req_1")
        await self._send(send, 200, kind, out)

    async def _send(self, send: Any, status: int, kind: bytes, body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


def sdk(gateway: Gateway) -> AsyncOpenAI:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway))
    return AsyncOpenAI(api_key="sk-x", base_url="http://gateway/v1", http_client=http, max_retries=0)


PHOTO = ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image/png")
TALK = ("talk.wav", b"RIFF" + bytes(range(256)) * 4 + b"\r\n--", "audio/wav")


# Through to a provider of the same dialect


async def test_images_pass_through(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url)
    async with sdk(gateway) as client:
        reply = strict(await client.images.generate(model="asked", prompt="a house", n=2, size="1024x1024"))
        assert len(reply.data) == 2
        assert json.loads(fake.served.last.body)["model"] == "the-model"
        assert fake.served.last.headers[b"authorization"] == b"Bearer upstream-key"
        usage = gateway.receipt.usage
        assert (usage.input, usage.output, usage.images) == (reply.usage.input_tokens, reply.usage.output_tokens, 2)
        assert usage.image_output == usage.output


async def test_edits_pass_through_byte_for_byte(fake: FakeProvider) -> None:
    sent: list[bytes] = []
    gateway = Gateway(fake.url)

    async def note(request: Any) -> None:
        sent.append(await request.aread())

    async with sdk(gateway) as client:
        client._client.event_hooks["request"] = [note]
        reply = strict(
            await client.images.edit(model="asked", prompt="brighter", image=[PHOTO, PHOTO], mask=PHOTO, n=1)
        )
        assert reply.usage.input_tokens_details.image_tokens == 200
        assert sent[0].replace(b'name="model"\r\n\r\nasked\r\n', b'name="model"\r\n\r\nthe-model\r\n') == (
            fake.served.last.body
        )
        assert gateway.receipt.usage.image_input == 200


async def test_images_streamed_through(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url)
    async with sdk(gateway) as client:
        stream = await client.images.edit(model="m", prompt="p", image=PHOTO, stream=True, partial_images=2)
        events = [strict(event) async for event in stream]
        assert [event.type.rpartition(".")[2] for event in events] == ["partial_image"] * 2 + ["completed"]
        assert gateway.relay.complete
        assert gateway.relay.usage.output == events[-1].usage.output_tokens


async def test_a_stream_of_images_that_breaks_is_an_error(fake: FakeProvider) -> None:
    async with sdk(Gateway(fake.url)) as client:
        stream = await client.images.generate(
            model="m", prompt="p", stream=True, partial_images=2, extra_headers={"x-nothing": "1"}
        )
        assert [event.type async for event in stream][-1] == "image_generation.completed"
        fake.script = {"rules": [{"reply": {"fault": "end_between_events"}}]}
        stream = await client.images.generate(model="m", prompt="p", stream=True, partial_images=2)
        with pytest.raises(openai.APIError, match="broke"):
            [event async for event in stream]


async def test_speech_passes_through(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url)
    async with sdk(gateway) as client:
        for form, kind in (("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("pcm", "audio/pcm")):
            reply = await client.audio.speech.create(
                model="tts", voice="alloy", input="one two three", response_format=form
            )
            assert reply.response.headers["content-type"] == kind
            direct = AsyncOpenAI(api_key="k", base_url=f"{fake.url}/v1")
            async with direct:
                same = await direct.audio.speech.create(
                    model="tts", voice="alloy", input="one two three", response_format=form
                )
            assert reply.content == same.content
            assert gateway.relay.usage.estimated
            assert gateway.relay.usage.audio_output > 0


async def test_speech_as_events_passes_through(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url)
    async with (
        sdk(gateway) as client,
        client.audio.speech.with_streaming_response.create(
            model="tts", voice="alloy", input="one two", stream_format="sse", response_format="pcm"
        ) as reply,
    ):
        events = [json.loads(line[6:]) async for line in reply.iter_lines() if line.startswith("data: ")]
    assert len(b"".join(base64.b64decode(event["audio"]) for event in events[:-1])) == 4800
    assert gateway.relay.usage.output == events[-1]["usage"]["output_tokens"]
    assert not gateway.relay.usage.estimated


async def test_broken_sound_is_cut_off(fake: FakeProvider) -> None:
    fake.script = {"rules": [{"reply": {"fault": "reset_mid_stream"}}]}
    async with sdk(Gateway(fake.url)) as client:
        with pytest.raises((openai.APIConnectionError, ConnectionResetError)):
            await client.audio.speech.create(model="tts", voice="alloy", input="one two three")


async def test_transcripts_pass_through(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url)
    async with sdk(gateway) as client:
        reply = strict(await client.audio.transcriptions.create(model="asked", file=TALK, language="en"))
        assert f"{len(TALK[1])} bytes" in reply.text
        assert b"the-model" in fake.served.last.body
        assert gateway.receipt.usage.audio_input == reply.usage.input_token_details.audio_tokens
        verbose = strict(await client.audio.transcriptions.create(model="m", file=TALK, response_format="verbose_json"))
        assert verbose.segments
        assert gateway.receipt.usage.seconds == 3
        vtt = await client.audio.transcriptions.create(model="m", file=TALK, response_format="vtt")
        assert vtt.startswith("WEBVTT")
        assert gateway.receipt.usage.seconds == 2.5
        assert gateway.receipt.usage.estimated
        stream = await client.audio.transcriptions.create(model="m", file=TALK, stream=True)
        events = [strict(event) async for event in stream]
        assert "".join(event.delta for event in events[:-1]) == events[-1].text == reply.text
        assert gateway.relay.usage.audio_input > 0


async def test_a_providers_refusal_reaches_the_client(fake: FakeProvider) -> None:
    fake.script = {"rules": [{"reply": {"status": 400, "error": {"message": "no cats", "code": "moderation_blocked"}}}]}
    async with sdk(Gateway(fake.url)) as client:
        with pytest.raises(openai.BadRequestError, match="no cats") as caught:
            await client.images.generate(model="m", prompt="cats")
        assert caught.value.code == "moderation_blocked"


# Gemini behind OpenAI's form


async def test_images_from_gemini(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url, "gemini", "gemini-3.1-flash-image")
    async with sdk(gateway) as client:
        reply = strict(await client.images.generate(model="m", prompt="a house", size="1536x1024", quality="high"))
        assert base64.b64decode(reply.data[0].b64_json).startswith(b"\x89PNG")
        assert reply.output_format == "png"
        assert reply.usage.output_tokens_details.image_tokens == 1290
        assert gateway.losses == ["quality"]
        sent = json.loads(fake.served.last.body)
        assert sent["generationConfig"]["imageConfig"] == {"aspectRatio": "3:2"}
        edited = await client.images.edit(model="m", prompt="brighter", image=[PHOTO, PHOTO])
        assert edited.data[0].b64_json
        sent = json.loads(fake.served.last.body)
        inline = sent["contents"][0]["parts"][1]["inlineData"]
        assert (inline["mimeType"], base64.b64decode(inline["data"])) == ("image/png", PHOTO[1])
        stream = await client.images.generate(model="m", prompt="a house", stream=True)
        events = [strict(event) async for event in stream]
        assert [event.type for event in events] == ["image_generation.completed"]
        assert gateway.relay.usage.image_output == 1290


async def test_images_from_imagen(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url, "gemini", "imagen-4.0-generate-001")
    async with sdk(gateway) as client:
        reply = await client.images.generate(model="m", prompt="a house", n=3)
        assert len(reply.data) == 3
        assert gateway.receipt.usage.images == 3


async def test_speech_from_gemini(fake: FakeProvider) -> None:
    gateway = Gateway(fake.url, "gemini", "gemini-3.8-flash-tts")
    async with sdk(gateway) as client:
        reply = await client.audio.speech.create(model="m", voice="onyx", input="one two", response_format="wav")
        assert reply.response.headers["content-type"] == "audio/wav"
        with wave.open(io.BytesIO(reply.content)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
        assert gateway.losses == ["voice"]
        raw = await client.audio.speech.create(model="m", voice="Kore", input="one two", response_format="pcm")
        assert raw.content == reply.content[44:]
        assert len(raw.content) == 4800
        assert gateway.losses == []
        assert gateway.relay.usage.audio_output > 0
        default = await client.audio.speech.create(model="m", voice="Kore", input="one two", instructions="slowly")
        assert default.content[:4] == b"RIFF"
        assert gateway.losses == ["response_format"]
        part = json.loads(fake.served.last.body)["contents"][0]["parts"][0]
        assert part == {"text": "one two", "speechMetadata": {"style": "slowly"}}
        with pytest.raises(openai.BadRequestError, match="wav and pcm"):
            await client.audio.speech.create(model="m", voice="Kore", input="x", response_format="flac")


async def test_transcripts_from_gemini(fake: FakeProvider) -> None:
    fake.script = {"default": {"text": "hello there"}}
    gateway = Gateway(fake.url, "gemini", "gemini-3-flash")
    async with sdk(gateway) as client:
        reply = strict(
            await client.audio.transcriptions.create(model="m", file=TALK, language="en", prompt="a greeting")
        )
        assert reply.text == "hello there"
        parts = json.loads(fake.served.last.body)["contents"][0]["parts"]
        assert "a greeting" in parts[0]["text"]
        assert base64.b64decode(parts[1]["inlineData"]["data"]) == TALK[1]
        assert await client.audio.transcriptions.create(model="m", file=TALK, response_format="text") == "hello there\n"
        stream = await client.audio.transcriptions.create(model="m", file=TALK, stream=True)
        events = [strict(event) async for event in stream]
        assert events[-1].text == "hello there"
        assert "".join(event.delta for event in events[:-1]) == "hello there"
        with pytest.raises(openai.BadRequestError, match="srt"):
            await client.audio.transcriptions.create(model="m", file=TALK, response_format="srt")


# What cannot be carried


def form(*fields: tuple[str, Any]) -> tuple[bytes, str]:
    from freehold.dialects.multipart import write_form

    return write_form(fields)


def test_strict_refuses_a_loss(fake: FakeProvider) -> None:
    target = Gateway("http://127.0.0.1:9", "gemini", "gemini-3.1-flash-image").target
    body = json.dumps({"model": "m", "prompt": "p", "quality": "high"}).encode()
    assert Images("generations", body, "application/json").prepare(target).losses == ["quality"]
    with pytest.raises(LossRefused, match="quality"):
        Images("generations", body, "application/json", strict=True).prepare(target)


def test_a_dialect_without_the_operation() -> None:
    target = Gateway("http://127.0.0.1:9", "messages").target
    body = json.dumps({"model": "m", "prompt": "p"}).encode()
    with pytest.raises(BadRequest, match="has no images"):
        Images("generations", body, "application/json").prepare(target)
    with pytest.raises(BadRequest, match="has no speech"):
        Speak(json.dumps({"model": "m", "input": "x", "voice": "v"}).encode()).prepare(target)


def test_gemini_withholding_an_image_is_a_refusal() -> None:
    target = Gateway("http://127.0.0.1:9", "gemini", "gemini-3.1-flash-image").target
    prepared = Images("generations", b'{"model":"m","prompt":"p"}', "application/json").prepare(target)
    with pytest.raises(UpstreamRefused, match="IMAGE_SAFETY"):
        prepared.read(b'{"candidates":[{"finishReason":"IMAGE_SAFETY"}]}')
    with pytest.raises(UpstreamBroken, match="without image: sorry"):
        prepared.read(b'{"candidates":[{"content":{"parts":[{"text":"sorry"}]},"finishReason":"STOP"}]}')


def test_the_request_head_carries_the_clients_boundary() -> None:
    from freehold.dialects.multipart import File

    body, kind = form(("model", "asked"), ("file", File(b"RIFF", "a.wav", "audio/wav")))
    prepared = Transcribe("transcriptions", body, kind).prepare(Gateway("http://127.0.0.1:9").target)
    lines = prepared.head.split(b"\r\n")
    assert [line for line in lines if line.lower().startswith(b"content-type")] == [b"content-type: " + kind.encode()]
    assert prepared.body == body.replace(b"\r\nasked\r\n", b"\r\nthe-model\r\n")
