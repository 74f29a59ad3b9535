"""Sound: requests, streams of sound and of transcripts passed through, Gemini as speaker and listener."""

import base64
import io
import json
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionStreamEvent
from pydantic import TypeAdapter

from freehold.dialects import audio
from freehold.dialects.audio import (
    GeminiSpeechRelay,
    GeminiTranscriptRelay,
    SoundRelay,
    SpeechEventRelay,
    SpeechRequest,
    TranscriptionRequest,
    TranscriptRelay,
    wav,
)
from freehold.dialects.audio.gemini_transcript import media_type
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.multipart import File, write_form
from freehold.dialects.peek import MEDIA_BYTES
from freehold.dialects.sse import SseParser
from freehold.errors import BadRequest, FreeholdError, LossRefused, UpstreamBroken, UpstreamRefused

SPEECH = SpeechRequest("m", "one two three four", "alloy")
EVENT = TypeAdapter(TranscriptionStreamEvent)


def events(stream: bytes) -> list[Any]:
    parser = SseParser()
    return [json.loads(data) for _, data in [*parser.feed(stream), *parser.close()]]


def sse(*values: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)


def encoded(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "hello", "voice": "alloy", **fields}).encode()


def heard(*fields: tuple[str, Any], file: File | None = None, task: Any = "transcriptions") -> TranscriptionRequest:
    sound = file or File(b"\xff\xfb" + bytes(300), "talk.mp3", "audio/mpeg")
    return audio.read_transcription(task, *write_form([("model", "m"), ("file", sound), *fields]))


# WAV


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0), st.sampled_from([8000, 24000, 48000]))
def test_wav_there_and_back(samples: bytes, rate: int) -> None:
    whole = wav.wrap(wav.Sound(samples, rate))
    with wave.open(io.BytesIO(whole)) as sound:
        assert sound.readframes(10**6) == samples
        assert sound.getframerate() == rate
    assert wav.unwrap(whole) == wav.Sound(samples, rate)
    assert wav.seconds(whole[:44]) == len(samples) / (rate * 2)
    streamed = wav.header(rate) + samples
    assert wav.unwrap(streamed) == wav.Sound(samples, rate)
    assert wav.seconds(streamed) is None


@given(st.binary(max_size=80))
def test_no_wav(data: bytes) -> None:
    for given_data in (data, b"RIFF\0\0\0\0WAVE" + data, b"RIFF\0\0\0\0WAVEfmt " + data):
        wav.unwrap(given_data)
        wav.seconds(given_data)


# Speech


def test_peek_speech() -> None:
    peeked = audio.peek_speech(encoded(instructions="slowly"))
    assert (peeked.model, peeked.stream, peeked.input_bytes) == ("m", True, len("hello") + len("slowly"))
    assert peeked.max_tokens
    assert audio.read_speech(encoded(speed=2, odd=1, voice={"id": "v"})).unknown == {"odd": 1}


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"model": None}, "model"), ({"input": ""}, "input"), ({"input": 7}, "input"), ({"voice": 7}, "voice"),
     ({"speed": "fast"}, "speed"), ({"response_format": 1}, "response_format")],
)  # fmt: skip
def test_speech_requests_that_are_wrong(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        audio.peek_speech(encoded(**fields))
    assert caught.value.param == param


def test_only_the_model_of_speech_changes() -> None:
    assert json.loads(audio.patch_speech(encoded(odd=1), model="x")) == {**json.loads(encoded(odd=1)), "model": "x"}
    body = encoded()
    assert audio.patch_speech(body, model="m") is body


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_sound_passes_byte_for_byte(sound: bytes, cuts: list[int]) -> None:
    relay = SoundRelay(SPEECH)
    places = [0, *sorted(min(cut, len(sound)) for cut in cuts), len(sound)]
    out = b"".join(relay.feed(sound[a:b]) for a, b in zip(places, places[1:], strict=False)) + relay.close()
    if relay.failed is None:
        assert out == sound
        assert relay.complete
        assert relay.usage is not None
        assert relay.usage.estimated
        assert relay.usage.characters == len(SPEECH.input)
    else:
        assert out == b""
        assert not sound.strip() or sound.lstrip().startswith(b"{")


def test_an_error_is_no_sound() -> None:
    relay = SoundRelay(SPEECH)
    assert relay.feed(b'{"error":{"mess') + relay.feed(b'age":"no voice"}}') == b""
    assert not relay.started
    relay.close()
    assert relay.failed is not None
    assert relay.failed.message == "no voice"
    assert SoundRelay.raw
    silent = SoundRelay(SPEECH)
    silent.close()
    assert silent.failed is not None


def test_the_estimate_follows_the_sound() -> None:
    pcm = SpeechRequest("m", "x", "v", response_format="pcm").estimate(48_000 * 3)
    assert (pcm.output, pcm.audio_output) == (60, 60)
    assert SpeechRequest("m", "x" * 140, "v").estimate(10).output == 200


DONE = {"type": "speech.audio.done", "usage": {"input_tokens": 5, "output_tokens": 60, "total_tokens": 65}}
SPOKEN = sse({"type": "speech.audio.delta", "audio": "QUJD"}, {"type": "speech.audio.delta", "audio": "REVG"}, DONE)


@given(st.lists(st.integers(0, len(SPOKEN)), max_size=6))
def test_speech_events_pass(cuts: list[int]) -> None:
    relay = SpeechEventRelay(SPEECH)
    places = [0, *sorted(cuts), len(SPOKEN)]
    out = b"".join(relay.feed(SPOKEN[a:b]) for a, b in zip(places, places[1:], strict=False)) + relay.close()
    assert out == SPOKEN
    assert relay.complete
    assert relay.usage == Usage(uncached=5, output=60, audio_output=60, characters=len(SPEECH.input))


def test_speech_events_that_end_early() -> None:
    relay = SpeechEventRelay(SPEECH)
    relay.feed(SPOKEN[: SPOKEN.index(b'data: {"type": "speech.audio.done')])
    relay.close()
    assert relay.started
    assert not relay.complete
    assert relay.output_bytes


def test_mistrals_speech_events_get_the_usual_name() -> None:
    relay = SpeechEventRelay(SPEECH)
    shown = events(relay.feed(sse({"type": "speech.audio.delta", "audio_data": "QUJD"}, {"type": "speech.audio.done"})))
    assert shown[0]["audio"] == "QUJD"
    assert relay.complete


def test_raw_sound_becomes_events() -> None:
    relay = SpeechEventRelay(SPEECH)
    out = b"".join(relay.feed(piece) for piece in (b"ID3", b"1234", b"5678", b"9abc")) + relay.close()
    shown = events(out)
    assert b"".join(base64.b64decode(event["audio"]) for event in shown[:-1]) == b"ID3123456789abc"
    assert shown[-1]["type"] == "speech.audio.done"
    assert relay.complete
    failed = SpeechEventRelay(SPEECH)
    out = failed.feed(b'{"error":{"message":"no voice"}}') + failed.close()
    assert failed.failed is not None
    assert events(out)[0]["error"]["message"] == "no voice"


# Speech from Gemini


def gemini_event(samples: bytes = b"", kind: str = "audio/L16;codec=pcm;rate=24000", **more: Any) -> Any:
    parts = [{"inlineData": {"mimeType": kind, "data": base64.b64encode(samples).decode()}}] if samples else []
    candidate = {"content": {"parts": parts}, **({"finishReason": more.pop("finish")} if "finish" in more else {})}
    return {"candidates": [candidate], "modelVersion": "gemini-tts", **more}


METADATA = {
    "promptTokenCount": 4,
    "candidatesTokenCount": 50,
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
}
FROM_GEMINI = sse(gemini_event(b"abcd"), gemini_event(b"efgh"), gemini_event(finish="STOP", usageMetadata=METADATA))


def speak(form: str, stream: bytes = FROM_GEMINI, **fields: Any) -> tuple[bytes, GeminiSpeechRelay]:
    relay = GeminiSpeechRelay(audio.read_speech(encoded(**fields)), form)
    return relay.feed(stream) + relay.close(), relay


def test_gemini_speaks() -> None:
    raw, relay = speak("pcm")
    assert raw == b"abcdefgh"
    assert relay.complete
    assert relay.raw
    assert relay.usage == Usage(uncached=4, output=50, audio_output=50, characters=5)
    whole, _ = speak("wav")
    assert wav.unwrap(whole) == wav.Sound(b"abcdefgh")
    wrapped = sse(gemini_event(wav.wrap(wav.Sound(b"abcd")), "audio/wav"), gemini_event(b"efgh", finish="STOP"))
    assert speak("pcm", wrapped)[0] == b"abcdefgh"
    shown = events(speak("pcm", stream_format="sse")[0])
    assert b"".join(base64.b64decode(event["audio"]) for event in shown[:-1]) == b"abcdefgh"
    assert shown[-1]["usage"] == {"input_tokens": 4, "output_tokens": 50, "total_tokens": 54}


@given(st.lists(st.integers(0, len(FROM_GEMINI)), max_size=6))
def test_gemini_speaks_however_it_is_cut(cuts: list[int]) -> None:
    relay = GeminiSpeechRelay(SPEECH, "pcm")
    places = [0, *sorted(cuts), len(FROM_GEMINI)]
    pieces = [relay.feed(FROM_GEMINI[a:b]) for a, b in zip(places, places[1:], strict=False)]
    assert b"".join(pieces) + relay.close() == b"abcdefgh"


def test_gemini_does_not_speak() -> None:
    for stream in (
        sse(gemini_event(b"abcd")),  # cut before its end
        sse(gemini_event(b"abcd", finish="OTHER")),
        sse(gemini_event(finish="STOP")),
        sse({"promptFeedback": {"blockReason": "SAFETY"}}),
        sse(gemini_event(finish="PROHIBITED_CONTENT")),
        b"",
    ):
        _, relay = speak("wav", stream)
        assert not relay.complete
    for stream in (
        sse(gemini_event(b"abcd", "audio/mpeg")),
        sse(gemini_event(b"abcd", "audio/L16;rate=16000")),
        sse(gemini_event(b"RIFFnonsense", "audio/wav")),
        sse({"error": {"message": "oops"}}),
        sse({"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "!"}}]}}]}),
        b"data: 7\n\n",
    ):
        with pytest.raises(UpstreamBroken):
            speak("pcm", stream)
    assert wav.unwrap(speak("wav", sse(gemini_event(b"abcd", "audio/L16;rate=16000", finish="STOP")))[0]) == wav.Sound(
        b"abcd", 16000
    )


def test_speech_to_gemini() -> None:
    losses: Losses = []
    request = audio.read_speech(encoded(instructions="slowly", speed=2, odd=1))
    assert audio.check_speech(request, losses) == "wav"
    body = json.loads(audio.write_gemini_speech(request, losses))
    assert body["contents"][0]["parts"] == [{"text": "hello", "speechMetadata": {"style": "slowly"}}]
    voice = body["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]
    assert voice == "Kore"
    assert losses == ["response_format", "speed", "voice", "odd"]
    earlier = json.loads(audio.write_gemini_speech(request, [], styled=False))
    assert earlier["contents"][0]["parts"] == [{"text": "slowly:\nhello"}]
    losses = []
    plain = audio.read_speech(encoded(voice="Puck", response_format="pcm", speed=1))
    assert audio.check_speech(plain, losses) == "pcm"
    audio.write_gemini_speech(plain, losses)
    assert losses == []
    with pytest.raises(LossRefused) as caught:
        audio.check_speech(audio.read_speech(encoded(response_format="mp3")), [])
    assert caught.value.param == "response_format"
    with pytest.raises(LossRefused):
        audio.write_gemini_speech(audio.read_speech(encoded(voice={"id": "v"})), [])
    with pytest.raises(BadRequest):
        audio.write_gemini_speech(audio.read_speech(encoded(input=" ")), [])


# Transcripts


def test_peek_transcription() -> None:
    body, kind = write_form(
        [("model", "m"), ("file", File(bytes(10**6), "a.mp3")), ("stream", "True"), ("prompt", "abcd")]
    )
    peeked = audio.peek_transcription("transcriptions", body, kind)
    assert (peeked.model, peeked.stream, peeked.audio, peeked.input_bytes) == ("m", True, True, MEDIA_BYTES + 4)
    minute = wav.header(size=48_000 * 60) + bytes(100)
    body, kind = write_form([("model", "m"), ("file", File(minute, "a.wav"))])
    assert audio.peek_transcription("translations", body, kind).input_bytes == 60 * 10 * 4


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("file", File(b"", "a.wav"))], "model"),
        ([("model", "m")], "file"),
        ([("model", "m"), ("file", "text")], "file"),
        ([("model", "m"), ("file", File(b"", "a")), ("response_format", "docx")], "response_format"),
        ([("model", "m"), ("file", File(b"", "a")), ("temperature", "nan")], "temperature"),
        ([("model", "m"), ("file", File(b"", "a")), ("model", "n")], "model"),
    ],
)
def test_transcription_requests_that_are_wrong(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        audio.read_transcription("transcriptions", *write_form(fields))
    assert caught.value.param == param


def test_a_transcription_is_a_form() -> None:
    with pytest.raises(BadRequest, match="multipart/form-data"):
        audio.read_transcription("transcriptions", b"{}", "application/json")


def test_the_whole_request() -> None:
    request = heard(("language", "de"), ("temperature", "0.5"), ("include[]", "logprobs"), ("keywords[]", "a"),
                    ("keywords[]", "b"), ("odd", "1"))  # fmt: skip
    assert (request.language, request.temperature) == ("de", 0.5)
    assert request.settings == {"include": ["logprobs"], "keywords": ["a", "b"], "odd": ["1"]}


def test_what_transcripts_used() -> None:
    tokens = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
              "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}  # fmt: skip
    receipt = audio.read_receipt(heard(), json.dumps({"text": "hi", "usage": tokens}).encode())
    assert receipt.usage == Usage(uncached=14, output=45, audio_input=10)
    receipt = audio.read_receipt(heard(), b'{"text":"hi","usage":{"type":"duration","seconds":7}}')
    assert receipt.usage == Usage(seconds=7.0)
    mistral = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12, "prompt_audio_seconds": 5}
    receipt = audio.read_receipt(heard(), json.dumps({"model": "v", "text": "hi", "usage": mistral}).encode())
    assert receipt.usage == Usage(uncached=3, output=9, seconds=5.0)
    assert receipt.model == "v"
    receipt = audio.read_receipt(heard(), b'{"text":"hi there","duration":"3.5","x_groq":{"id":"req_1"}}')
    assert receipt.usage is not None
    assert (receipt.usage.seconds, receipt.usage.estimated, receipt.id) == (3.5, True, "req_1")
    srt = heard(("response_format", "srt"))
    receipt = audio.read_receipt(srt, b"1\n00:00:00,000 --> 00:01:02,500\nhi\n")
    assert receipt.usage is not None
    assert receipt.usage.seconds == 62.5
    minute = heard(("response_format", "text"), file=File(wav.header(size=48_000 * 60), "a.wav"))
    receipt = audio.read_receipt(minute, b"hello\n")
    assert receipt.usage == Usage(uncached=600, output=2, audio_input=600, seconds=60.0, estimated=True)
    failed = audio.read_receipt(srt, b'{"error":{"message":"no"}}')
    assert failed.failed is not None
    for broken in (b"", b"[]", b"{}", b'{"text":7}', b"hello"):
        with pytest.raises(UpstreamBroken):
            audio.read_receipt(heard(), broken)


TOKENS = {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18}
HEARD = sse(
    {"type": "transcript.text.delta", "delta": "hello "},
    {"type": "transcript.text.delta", "delta": "there"},
    {"type": "transcript.text.done", "text": "hello there", "usage": TOKENS},
)


@given(st.lists(st.integers(0, len(HEARD)), max_size=6))
def test_transcript_events_pass(cuts: list[int]) -> None:
    relay = TranscriptRelay(heard())
    places = [0, *sorted(cuts), len(HEARD)]
    out = b"".join(relay.feed(HEARD[a:b]) for a, b in zip(places, places[1:], strict=False)) + relay.close()
    assert out == HEARD
    assert relay.complete
    assert relay.usage == Usage(uncached=14, output=4)


@given(st.integers(0, len(HEARD) - 3))
def test_transcripts_that_end_early(end: int) -> None:
    relay = TranscriptRelay(heard())
    relay.feed(HEARD[:end])
    relay.close()
    assert not relay.complete


def read_all(relay: Any, stream: bytes) -> list[Any]:
    shown = [event for event in events(relay.feed(stream) + relay.close()) if event != "[DONE]"]
    for event in shown:
        EVENT.validate_python(event, strict=True)
    return shown


def test_mistrals_events() -> None:
    relay = TranscriptRelay(heard())
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12, "prompt_audio_seconds": 5}
    shown = read_all(relay, sse(
        {"type": "transcription.language", "audio_language": "en"},
        {"type": "transcription.text.delta", "text": "hello "},
        {"type": "transcription.segment", "text": "hello", "start": 0.0, "end": 1.5, "speaker_id": "s1"},
        {"type": "transcription.text.delta", "text": "there"},
        {"type": "transcription.done", "model": "voxtral", "text": "hello there", "usage": usage, "language": "en"},
    ))  # fmt: skip
    assert [event["type"].removeprefix("transcript.text.") for event in shown] == ["delta", "segment", "delta", "done"]
    assert shown[-1]["text"] == "hello there"
    assert shown[-1]["usage"]["total_tokens"] == 12
    assert relay.usage == Usage(uncached=3, output=9, seconds=5.0)
    assert relay.model == "voxtral"
    assert relay.complete


def test_vllms_events() -> None:
    def chunk(text: str, **more: Any) -> Any:
        return {"object": "transcription.chunk", "choices": [{"delta": {"content": text}, **more}], "model": "w"}

    stream = sse(chunk("hello "), chunk("there", finish_reason="stop"))
    relay = TranscriptRelay(heard())
    relay.feed(stream)
    relay.close()
    assert not relay.complete, "its end is missing"
    relay = TranscriptRelay(heard())
    out = relay.feed(stream + b"data: [DONE]\n\n") + relay.close()
    assert out.endswith(b"data: [DONE]\n\n")
    shown = events(out.removesuffix(b"data: [DONE]\n\n"))
    assert [event["type"] for event in shown] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert shown[-1]["text"] == "hello there"
    assert relay.complete


@pytest.mark.parametrize(("form", "body"), [("json", b'{"text":"hello there"}'), ("text", b"hello there\n")])
def test_a_host_that_answers_at_once(form: str, body: bytes) -> None:
    relay = TranscriptRelay(heard(("response_format", form), ("stream", "true")))
    shown = read_all(relay, body)
    assert [event["type"] for event in shown] == ["transcript.text.delta", "transcript.text.done"]
    assert shown[1]["text"] == "hello there"
    assert relay.complete


# Transcripts from Gemini


def test_transcription_to_gemini() -> None:
    losses: Losses = []
    request = heard(("language", "de"), ("prompt", "names"), ("keywords[]", "Aachen"), ("include[]", "logprobs"),
                    ("chunking_strategy", "auto"), ("temperature", "0"))  # fmt: skip
    body = json.loads(audio.write_gemini_transcription(request, losses))
    words, sound = body["contents"][0]["parts"]
    assert all(word in words["text"] for word in ("de", "names", "Aachen", "word for word"))
    assert sound["inlineData"]["mimeType"] == "audio/mpeg"
    assert base64.b64decode(sound["inlineData"]["data"]) == b"\xff\xfb" + bytes(300)
    assert body["generationConfig"] == {"temperature": 0.0}
    assert losses == ["include"]
    assert (
        "English"
        in json.loads(audio.write_gemini_transcription(heard(task="translations"), []))["contents"][0]["parts"][0][
            "text"
        ]
    )
    for form in ("srt", "vtt", "verbose_json", "diarized_json"):
        with pytest.raises(LossRefused) as caught:
            audio.write_gemini_transcription(heard(("response_format", form)), [])
        assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (File(b"", "a.bin", "audio/flac; x=1"), "audio/flac"),
        (File(b"", "A.M4A"), "audio/m4a"),
        (File(b"OggS", "a"), "audio/ogg"),
        (File(b"?", "a"), "audio/wav"),
    ],
)
def test_kinds_of_sound(file: File, kind: str) -> None:
    assert media_type(heard(file=file)) == kind


def test_gemini_hears() -> None:
    answer: Any = {
        "candidates": [{"content": {"parts": [{"text": " hello there\n"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 40, "candidatesTokenCount": 3,
                          "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}]},
        "modelVersion": "gemini-x",
    }  # fmt: skip
    transcript = audio.read_gemini_transcript(json.dumps(answer).encode())
    assert transcript.usage == Usage(uncached=40, output=3, audio_input=30)
    written = Transcription.model_validate_json(audio.write_transcript(transcript, "json"), strict=True)
    assert written.text == "hello there"
    assert written.usage.input_token_details.audio_tokens == 30
    assert audio.write_transcript(transcript, "text") == b"hello there\n"
    answer["candidates"][0]["finishReason"] = "MAX_TOKENS"
    with pytest.raises(UpstreamBroken, match="MAX_TOKENS"):
        audio.read_gemini_transcript(json.dumps(answer).encode())
    with pytest.raises(UpstreamRefused):
        audio.read_gemini_transcript(b'{"promptFeedback":{"blockReason":"SAFETY"}}')


def test_gemini_hears_in_a_stream() -> None:
    def chunk(text: str, **more: Any) -> Any:
        return {"candidates": [{"content": {"parts": [{"text": text}]}, **more}]}

    relay = GeminiTranscriptRelay(heard(), "g")
    shown = read_all(relay, sse(chunk("hello "), chunk("there", finishReason="STOP")))
    assert [event["type"] for event in shown] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert relay.complete
    for stream in (sse(chunk("hello ")), sse(chunk("x", finishReason="MAX_TOKENS")), b""):
        relay = GeminiTranscriptRelay(heard(), "g")
        relay.feed(stream)
        relay.close()
        assert not relay.complete


def test_content_types() -> None:
    assert audio.content_type("verbose_json") == b"application/json"
    assert audio.content_type("text").startswith(b"text/plain")
    assert audio.content_type("vtt").startswith(b"text/vtt")


@pytest.mark.parametrize(
    ("make", "stream"),
    [
        (lambda: SoundRelay(SPEECH), b"ID3 sound"),
        (lambda: SpeechEventRelay(SPEECH), SPOKEN),
        (lambda: SpeechEventRelay(SPEECH), b"ID3 sound"),
        (lambda: GeminiSpeechRelay(SPEECH, "wav"), FROM_GEMINI),
        (lambda: GeminiSpeechRelay(audio.read_speech(encoded(stream_format="sse")), "wav"), FROM_GEMINI),
        (lambda: TranscriptRelay(heard()), HEARD),
        (lambda: TranscriptRelay(heard()), b'{"text":"hello"}'),
        (lambda: GeminiTranscriptRelay(heard()), sse({"candidates": [{"content": {"parts": [{"text": "x"}]},
                                                                       "finishReason": "STOP"}]})),
    ],
)  # fmt: skip
def test_what_is_closed_twice_ends_once(make: Any, stream: bytes) -> None:
    relay = make()
    out = relay.feed(stream) + relay.close()
    assert out
    assert relay.complete
    assert relay.close() == b""
    assert relay.complete
    assert relay.failed is None


VALID = [SPOKEN, FROM_GEMINI, HEARD, b'{"text":"hi","usage":{"type":"duration","seconds":7},"duration":3}', encoded()]
LIES = (b"null", b"-1", b"1e400", b"NaN", b"[]", b"{}", b'""', b"true", b"99999999999999999999999", b"\xff", b"\\ud800")


@given(st.sampled_from(VALID), st.integers(0, 10**6), st.integers(0, 12), st.sampled_from(LIES))
def test_lies_are_no_crash(valid: bytes, where: int, cut: int, lie: bytes) -> None:
    at = where % len(valid)
    mangled = valid[:at] + lie + valid[at + cut :]
    relays: list[Any] = [
        SoundRelay(SPEECH), SpeechEventRelay(SPEECH), GeminiSpeechRelay(SPEECH, "wav"), TranscriptRelay(heard()),
        TranscriptRelay(heard(("response_format", "text"))), GeminiTranscriptRelay(heard()),
    ]  # fmt: skip
    for relay in relays:
        try:
            relay.feed(mangled)
            relay.close()
        except FreeholdError as error:
            assert error.fault == "provider"  # noqa: PT017  any other exception is the failure
    for read in (audio.read_speech, lambda body: audio.read_receipt(heard(), body), audio.read_gemini_transcript):
        try:
            read(mangled)
        except FreeholdError as error:
            assert error.fault in ("provider", "caller")  # noqa: PT017
