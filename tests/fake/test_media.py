"""The fake's media endpoints, seen by the official SDKs and by the bytes."""

import base64
import io
import json
import struct
import wave
import zlib
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types
from openai import AsyncOpenAI

from freehold.fake import FakeProvider


def strict(model: Any) -> Any:
    """SDK models are built without validation: validate what they hold against their own types."""
    return type(model).model_validate(model.model_dump(mode="json", warnings="error"), strict=False)


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def client(fake: FakeProvider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="sk-x", base_url=f"{fake.url}/v1", max_retries=0) as made:
        yield made


@pytest.fixture
async def gemini(fake: FakeProvider) -> AsyncIterator[Any]:
    made = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=fake.url))
    yield made.aio
    await made.aio.aclose()
    made.close()


def pixels(png: bytes) -> bytes:
    """The rows of a PNG whose chunks are all whole."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    position, data = 8, b""
    while position < len(png):
        size, name = struct.unpack_from(">I4s", png, position)
        body = png[position + 8 : position + 8 + size]
        assert zlib.crc32(name + body) == struct.unpack_from(">I", png, position + 8 + size)[0]
        data += body if name == b"IDAT" else b""
        position += 12 + size
    return zlib.decompress(data)


async def test_images(client: AsyncOpenAI, fake: FakeProvider) -> None:
    reply = strict(await client.images.generate(model="gpt-image-2", prompt="a red house", n=2))
    first, second = (pixels(base64.b64decode(image.b64_json)) for image in reply.data)
    assert first != second
    again = await client.images.generate(model="gpt-image-2", prompt="a red house")
    assert again.data[0].b64_json == reply.data[0].b64_json
    row = fake.served.rows[-2]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (row.input_tokens, row.output_tokens)
    by_url = await client.images.generate(model="dall-e-2", prompt="x", response_format="url")
    assert by_url.data[0].url.startswith("https://")


async def test_images_edited(client: AsyncOpenAI) -> None:
    files = [("a.png", b"one\r\n--x", "image/png"), ("b.png", b"two", "image/png")]
    one = strict(await client.images.edit(model="m", prompt="p", image=files))
    other = await client.images.edit(model="m", prompt="p", image=[files[0], ("b.png", b"TWO", "image/png")])
    assert one.data[0].b64_json != other.data[0].b64_json
    assert one.usage.input_tokens_details.image_tokens == 200
    with pytest.warns(DeprecationWarning, match="deprecated"):  # the SDK's word for it
        varied = await client.images.create_variation(model="m", image=files[0])
    assert varied.data[0].b64_json


async def test_images_streamed(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(model="m", prompt="p", stream=True, partial_images=2)
    events = [strict(event) async for event in stream]
    kinds = [event.type.removeprefix("image_generation.") for event in events]
    assert kinds == ["partial_image", "partial_image", "completed"]
    assert events[-1].usage.output_tokens > 0


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_speech(client: AsyncOpenAI, form: Any) -> None:
    reply = await client.audio.speech.create(model="tts", voice="alloy", input="one two three", response_format=form)
    assert reply.response.headers["content-type"].startswith("audio/")
    if form == "wav":
        with wave.open(io.BytesIO(reply.content)) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (24000, 3600)
    assert reply.content[:3] == {
        "mp3": b"\xff\xfb\x90", "opus": b"Ogg", "aac": b"\xff\xf1\x50", "flac": b"fLa", "wav": b"RIF",
        "pcm": reply.content[:3],
    }[form]  # fmt: skip


async def test_speech_as_events(client: AsyncOpenAI) -> None:
    create = client.audio.speech.with_streaming_response.create
    async with create(model="tts", voice="alloy", input="one two", response_format="pcm", stream_format="sse") as reply:
        events = [json.loads(line[6:]) async for line in reply.iter_lines() if line.startswith("data: ")]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(sound) == 2 * 2400
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] > 0


async def test_transcripts(client: AsyncOpenAI) -> None:
    content = bytes(range(256)) * 20 + b"\r\n\r\n--"
    file = ("talk.wav", content, "audio/wav")
    reply = strict(await client.audio.transcriptions.create(model="m", file=file))
    assert reply.text.startswith(f"Heard talk.wav, {len(content)} bytes")
    text = await client.audio.transcriptions.create(model="m", file=file, response_format="text")
    assert text == reply.text + "\n"
    for form in ("verbose_json", "diarized_json"):
        assert strict(await client.audio.transcriptions.create(model="m", file=file, response_format=form)).segments
    stream = await client.audio.transcriptions.create(model="m", file=file, stream=True)
    events = [strict(event) async for event in stream]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == reply.text
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert "-->" in await client.audio.translations.create(model="m", file=file, response_format="srt")


async def test_moderations(client: AsyncOpenAI) -> None:
    reply = strict(await client.moderations.create(model="omni", input=["a quiet day", "plain violence"]))
    assert [result.flagged for result in reply.results] == [False, True]
    assert reply.results[1].categories.violence


async def test_a_request_that_is_wrong(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="prompt"):
        await client.images.generate(model="m", prompt="")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        await client.audio.speech.create(model="m", voice="v", input="x", response_format="midi")  # type: ignore[arg-type]


async def test_rules_and_faults_hold_here_too(fake: FakeProvider, client: AsyncOpenAI) -> None:
    headers = {"x-fake": "status=503"}
    with pytest.raises(openai.InternalServerError):
        await client.images.generate(model="m", prompt="p", extra_headers=headers)
    with pytest.raises(openai.APIConnectionError):
        await client.audio.speech.create(
            model="m", voice="v", input="one two three", extra_headers={"x-fake": "fault=reset_mid_stream"}
        )


async def test_reranking_in_three_forms(fake: FakeProvider, client: AsyncOpenAI) -> None:
    documents = ["the sea is deep", "a cat on a mat", "cats and mats"]
    body = {"model": "rerank-v4", "query": "a cat on a mat", "documents": documents, "top_n": 2}
    cohere = await client.post("/../v2/rerank", body=body, cast_to=dict)
    assert cohere["results"][0]["index"] == 1
    assert len(cohere["results"]) == 2
    assert cohere["meta"]["billed_units"]["search_units"] == 1
    jina = await client.post(
        "/rerank", body={**body, "model": "jina-reranker-v3", "return_documents": True}, cast_to=dict
    )
    assert jina["results"][0]["document"]["text"] == documents[1]
    voyage = {"model": "rerank-2.5", "query": "a cat", "documents": documents, "top_k": 1}
    assert len((await client.post("/rerank", body=voyage, cast_to=dict))["data"]) == 1


async def test_cohere_embeddings(client: AsyncOpenAI) -> None:
    body = {"model": "embed-v4", "texts": ["a", "b"], "input_type": "search_query", "embedding_types": ["float"]}
    reply = await client.post("/../v2/embed", body=body, cast_to=dict)
    assert len(reply["embeddings"]["float"]) == 2
    assert reply["meta"]["billed_units"]["input_tokens"] == 2


async def test_gemini_makes_images_and_sound(gemini: Any) -> None:
    config = types.GenerateContentConfig(response_modalities=["IMAGE"])
    reply = await gemini.models.generate_content(model="gemini-3.1-flash-image", contents="a house", config=config)
    assert pixels(reply.candidates[0].content.parts[0].inline_data.data)
    assert reply.usage_metadata.candidates_tokens_details[0].modality == "IMAGE"
    config = types.GenerateContentConfig(response_modalities=["AUDIO"])
    whole = await gemini.models.generate_content(model="gemini-3.8-flash-tts", contents="one two", config=config)
    assert whole.candidates[0].content.parts[0].inline_data.mime_type == "audio/wav"
    stream = await gemini.models.generate_content_stream(
        model="gemini-3.8-flash-tts", contents="one two", config=config
    )
    sound = b"".join([chunk.candidates[0].content.parts[0].inline_data.data async for chunk in stream])
    assert len(sound) == 2 * 2400
    text = await gemini.models.generate_content(model="m", contents="hi")
    assert text.text
