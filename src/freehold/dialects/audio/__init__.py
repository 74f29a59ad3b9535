"""Sound: OpenAI's `/v1/audio/speech`, `/transcriptions` and `/translations`, as clients and most providers speak them.

Sources: https://platform.openai.com/docs/api-reference/audio and the `openai` SDK's types. Speech is JSON in, sound
out, raw or as events; the others are a form with a file in, JSON, text or events out. Gemini's speech models and its
models that hear answer through `generateContent`.

speech.py         requests, relays       gemini_speech.py       Gemini as the speaker
transcription.py  requests, receipts     gemini_transcript.py   Gemini as the listener
transcript.py     streams                wav.py                 the WAV container
"""

from freehold.dialects.audio.gemini_speech import GeminiSpeechRelay, check_speech, write_gemini_speech
from freehold.dialects.audio.gemini_transcript import (
    GeminiTranscriptRelay,
    read_gemini_transcript,
    write_gemini_transcription,
)
from freehold.dialects.audio.speech import (
    MEDIA_TYPES,
    SoundRelay,
    SpeechEventRelay,
    SpeechRequest,
    patch_speech,
    peek_speech,
    read_speech,
)
from freehold.dialects.audio.transcript import TranscriptRelay
from freehold.dialects.audio.transcription import (
    Transcript,
    TranscriptionRequest,
    content_type,
    patch_transcription,
    peek_transcription,
    read_receipt,
    read_transcription,
    write_transcript,
)
from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.typed_events import write_failure

__all__ = [
    "MEDIA_TYPES",
    "GeminiSpeechRelay",
    "GeminiTranscriptRelay",
    "SoundRelay",
    "SpeechEventRelay",
    "SpeechRequest",
    "Transcript",
    "TranscriptRelay",
    "TranscriptionRequest",
    "check_speech",
    "content_type",
    "patch_speech",
    "patch_transcription",
    "peek_speech",
    "peek_transcription",
    "read_error",
    "read_gemini_transcript",
    "read_receipt",
    "read_speech",
    "read_transcription",
    "write_error",
    "write_failure",
    "write_gemini_speech",
    "write_gemini_transcription",
    "write_transcript",
]
