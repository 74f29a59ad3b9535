"""Sounds under Google's names and under OpenAI's.

Speech that Gemini makes is `audio/L16;codec=pcm;rate=24000`, which OpenAI calls `pcm16`: 16 bits, 24 kHz, one channel.
"""

PCM16 = "audio/L16;codec=pcm;rate=24000"

_KINDS = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "pcm16": PCM16,
}
_FORMATS = {
    **{kind: name for name, kind in _KINDS.items()},
    "audio/mpeg": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}


def audio_format(kind: str) -> str:
    """The canonical format of a media type: OpenAI's word, or what stands after `audio/`."""
    return _FORMATS.get(kind) or kind.removeprefix("audio/")


def audio_kind(name: str | None) -> str:
    """The media type of a canonical format."""
    return _KINDS.get(name or "wav") or f"audio/{name}"
