"""Images, sound and the small endpoints of the fake: all that is not a text generated from a script.

OpenAI's images, speech, transcripts and moderations; Gemini's images and speech (`responseModalities`) and Imagen's
`:predict`; reranking and vectors of those who have their own form of it. Answers are made from the request alone: the
same words give the same picture, a transcript names the file it heard, its size and a hash, so a test sees that every
byte arrived. The engine takes these in with `read` (the request) and `make` (the answer).
"""

import base64
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from freehold.errors import BadRequest
from freehold.fake import vectors
from freehold.fake.answer import ID, tokens
from freehold.fake.ask import Ask, Request
from freehold.fake.made import Made, Upload, need, read_fields
from freehold.fake.ranking import moderations, rerank
from freehold.fake.routes import Route
from freehold.fake.sounds import RATE, pcm, png, seconds, sound, wav
from freehold.fake.speak import JSON_TYPE, SSE_TYPE, data, encode, named

IMAGE_TOKENS = 272
_CREATED = 1_700_000_000
_KINDS = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}


def handles(ask: Ask) -> bool:
    """Whether this file answers: one of its own paths, or Gemini asked for pictures or sound."""
    if ask.operation in _MAKERS:
        return True
    return ask.operation == "generate" and bool(_modalities(ask) & {"IMAGE", "AUDIO"})


def read(found: Route, request: Request) -> Ask:
    """Model and stream flag of a request to one of these paths. Raises BadRequest."""
    given = read_fields(request)
    model = found.model or given.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("you must provide a model parameter", param="model")
    stream = given.get("stream") in (True, "true") or found.operation == "speech"
    return Ask(found, request, found.operation, model, stream)


def make(ask: Ask) -> Made:
    """The answer. Raises BadRequest for a request that the provider would refuse."""
    if ask.operation == "generate":
        return _gemini(ask)
    return _MAKERS[ask.operation](ask, read_fields(ask.request))


# OpenAI


def _images(ask: Ask, given: dict[str, Any]) -> Made:
    verb = ask.operation
    words = given.get("prompt") or "" if verb == "image_variations" else need(given, "prompt")
    uploads = _uploads(given, "image") if verb != "images" else []
    if verb != "images" and not uploads and not given.get("images"):
        raise BadRequest("Missing required parameter: 'image'.", param="image")
    count = int(given.get("n") or 1)
    if not 1 <= count <= 10:
        raise BadRequest("n must be 1 to 10", param="n")
    seen = "".join(sha256(one.data).hexdigest() for one in uploads)
    text, pictures = tokens(words), 100 * (len(uploads) or len(given.get("images") or ()))
    look = {
        "background": "opaque",
        "output_format": "png",
        "quality": given.get("quality") or "low",
        "size": given.get("size") or "1024x1024",
    }
    shown = [base64.b64encode(png(f"{words}{seen}{i}")).decode() for i in range(count)]
    cost = (text + pictures, IMAGE_TOKENS * count)
    if ask.stream:
        kind = "image_edit" if verb == "image_edits" else "image_generation"
        drafts = [shown[0]] * int(given.get("partial_images") or 0)
        return Made(_image_events(kind, drafts, shown, look, (text, pictures)), SSE_TYPE, True, *cost)
    by_url = given.get("response_format") == "url"
    name = "url" if by_url else "b64_json"
    items = [{name: f"https://images.invalid/{ID}-{i}.png" if by_url else one} for i, one in enumerate(shown)]
    body = {"created": _CREATED, "data": items, **look, "usage": _image_usage(text, pictures, count)}
    return Made([encode(body)], JSON_TYPE, False, *cost)


def _image_usage(text: int, pictures: int, count: int) -> dict[str, Any]:
    return {
        "input_tokens": text + pictures,
        "input_tokens_details": {"text_tokens": text, "image_tokens": pictures},
        "output_tokens": IMAGE_TOKENS * count,
        "total_tokens": text + pictures + IMAGE_TOKENS * count,
    }


def _image_events(
    kind: str, drafts: list[str], shown: list[str], look: dict[str, Any], asked: tuple[int, int]
) -> list[bytes]:
    """Drafts first, then the pictures. The input is counted once, with the first."""
    parts = []
    for index, one in enumerate(drafts):
        name = f"{kind}.partial_image"
        event = {"type": name, "b64_json": one, "partial_image_index": index, "created_at": _CREATED, **look}
        parts.append(named(name, event))
    for index, one in enumerate(shown):
        name = f"{kind}.completed"
        usage = _image_usage(*(asked if index == 0 else (0, 0)), 1)
        parts.append(named(name, {"type": name, "b64_json": one, "created_at": _CREATED, **look, "usage": usage}))
    return parts


def _uploads(given: dict[str, Any], name: str) -> list[Upload]:
    value = given.get(name)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Upload)]


def _speech(ask: Ask, given: dict[str, Any]) -> Made:
    words, _ = need(given, "input"), given.get("voice") or need(given, "voice")
    format = given.get("response_format") or "mp3"
    if format not in _KINDS:
        raise BadRequest(f"unknown response_format {format!r}", param="response_format")
    whole = sound(words, format)
    size = -(-len(whole) // 4)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    cost = (tokens(words), round(seconds(words) * 20) or 1)
    if given.get("stream_format") == "sse":
        usage = {"input_tokens": cost[0], "output_tokens": cost[1], "total_tokens": sum(cost)}
        parts = [data({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}) for piece in pieces]
        return Made([*parts, data({"type": "speech.audio.done", "usage": usage})], SSE_TYPE, True, *cost)
    return Made(pieces, _KINDS[format], True, *cost)


def _transcript(ask: Ask, given: dict[str, Any]) -> Made:
    file = given.get("file")
    if not isinstance(file, Upload):
        raise BadRequest("Missing required parameter: 'file'.", param="file")
    text = f"Heard {file.name}, {len(file.data)} bytes, {sha256(file.data).hexdigest()[:12]}."
    cost = (10 + len(file.data) // 1000, tokens(text))
    usage = {
        "type": "tokens",
        "input_tokens": cost[0],
        "input_token_details": {"text_tokens": 0, "audio_tokens": cost[0]},
        "output_tokens": cost[1],
        "total_tokens": sum(cost),
    }
    format = given.get("response_format") or "json"
    if ask.stream:
        words = re.findall(r"\s*\S+", text)
        parts = [data({"type": "transcript.text.delta", "delta": word}) for word in words]
        parts.append(data({"type": "transcript.text.done", "text": text, "usage": usage}))
        return Made(parts, SSE_TYPE, True, *cost)
    if format in ("text", "srt", "vtt"):
        begin = {"text": "", "srt": "1\n00:00:00,000 --> 00:00:02,500\n", "vtt": "WEBVTT\n\n00:00.000 --> 00:02.500\n"}
        return Made([f"{begin[format]}{text}\n".encode()], b"text/plain; charset=utf-8", False, *cost)
    body: dict[str, Any] = {"text": text, "usage": usage}
    if format == "verbose_json":
        segment = {
            "id": 0, "seek": 0, "start": 0.0, "end": 2.5, "text": text, "tokens": [1, 2], "temperature": 0.0,
            "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        }  # fmt: skip
        body |= {
            "task": "transcribe" if ask.operation == "transcriptions" else "translate",
            "language": "english",
            "duration": 2.5,
            "segments": [segment],
            "usage": {"type": "duration", "seconds": 3},
        }
    elif format == "diarized_json":
        segment = {"type": "transcript.text.segment", "id": "seg_1", "start": 0.0, "end": 2.5, "text": text}
        body |= {"task": "transcribe", "duration": 2.5, "segments": [{**segment, "speaker": "A"}]}
    elif format != "json":
        raise BadRequest(f"unknown response_format {format!r}", param="response_format")
    return Made([encode(body)], JSON_TYPE, False, *cost)


# Google


def _modalities(ask: Ask) -> set[str]:
    if ask.output is None or b"odalities" not in bytes(ask.output):
        return set()
    config = msgspec.json.decode(ask.output)
    wanted = config.get("responseModalities") or config.get("response_modalities")
    return {str(one).upper() for one in wanted} if isinstance(wanted, list) else set()


def _gemini(ask: Ask) -> Made:
    contents = msgspec.json.decode(ask.messages or b"[]")
    parts = [part for one in contents for part in one.get("parts", ())]
    words = " ".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    seen = "".join(part["inlineData"]["data"][:64] for part in parts if "inlineData" in part)
    if "IMAGE" in _modalities(ask):
        shown = [("image/png", png(words + seen))]
        cost, modality = (tokens(words) + 258 * bool(seen), 1290), "IMAGE"
    else:
        cost, modality = (tokens(words), round(seconds(words) * 25) or 1), "AUDIO"
        shown = _gemini_speech(ask, words)
    usage = {
        "promptTokenCount": cost[0],
        "candidatesTokenCount": cost[1],
        "totalTokenCount": sum(cost),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": cost[0]}],
        "candidatesTokensDetails": [{"modality": modality, "tokenCount": cost[1]}],
    }
    bodies = []
    for index, (kind, content) in enumerate(shown):
        part = {"inlineData": {"mimeType": kind, "data": base64.b64encode(content).decode()}}
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if index == len(shown) - 1:
            candidate["finishReason"] = "STOP"
        bodies.append({"candidates": [candidate], "modelVersion": ask.model, "responseId": ID, "usageMetadata": usage})
    if ask.stream and ask.route.sse:
        return Made([data(body) for body in bodies], SSE_TYPE, True, *cost)
    return Made([encode(bodies[0])], JSON_TYPE, False, *cost)


def _gemini_speech(ask: Ask, words: str) -> list[tuple[str, bytes]]:
    """Whole answers are WAV since 3.8; a stream is always of raw samples."""
    if not ask.stream:
        return [("audio/wav", wav(words))] if "3.8" in ask.model else [(f"audio/L16;codec=pcm;rate={RATE}", pcm(words))]
    samples = pcm(words)
    size = max(2, len(samples) // 3 // 2 * 2)
    return [(f"audio/L16;codec=pcm;rate={RATE}", samples[at : at + size]) for at in range(0, len(samples), size)]


def _predict(ask: Ask, given: dict[str, Any]) -> Made:
    instances = need(given, "instances", list)
    count = (given.get("parameters") or {}).get("sampleCount", 4)
    words = str(instances[0].get("prompt", ""))
    shown = [
        {"mimeType": "image/png", "bytesBase64Encoded": base64.b64encode(png(f"{words}{i}")).decode()}
        for i in range(count)
    ]
    return Made([encode({"predictions": shown})], input_tokens=tokens(words))


_MAKERS: dict[str, Callable[[Ask, dict[str, Any]], Made]] = {
    "images": _images,
    "image_edits": _images,
    "image_variations": _images,
    "speech": _speech,
    "transcriptions": _transcript,
    "translations": _transcript,
    "moderations": moderations,
    "rerank": rerank,
    "predict": _predict,
    "cohere_embed": vectors.cohere,
    "invoke": vectors.invoke,
    "voyage_embed": vectors.voyage,
    "voyage_multimodal": vectors.voyage_multimodal,
    "jina_embed": vectors.jina,
    "ollama_embed": vectors.ollama,
    "ollama_embed_old": vectors.ollama,
}
OPERATIONS = frozenset(_MAKERS)
