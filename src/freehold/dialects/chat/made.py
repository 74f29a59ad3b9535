"""What an answer is made of besides text: sound (OpenAI) and pictures (OpenRouter).

`message.audio` and the streamed `delta.audio`: {id, data, transcript, expires_at}, base64 in the format that the
request asked for (https://platform.openai.com/docs/guides/audio). `message.images` and `delta.images`:
[{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}], as OpenRouter documents it
(https://openrouter.ai/docs/features/multimodal/image-generation) and other gateways copied it.
"""

from typing import Any

from freehold.dialects.conversation import Audio, AudioDelta, Image
from freehold.dialects.media import sniff, split_data_url

_SOUNDS = (("UklGR", "wav"), ("SUQz", "mp3"), ("//", "mp3"), ("T2dnUw", "opus"), ("ZkxhQw", "flac"))
"""How base64 of a sound begins; pcm16 has no head. `//` is the sync word 0xFFF of a frame without tags."""


def read_audio(raw: dict[str, Any]) -> Audio:
    """Sound of the assistant: a whole one in a reply, only its `id` where a client sends it back."""
    audio = Audio(**{name: value for name in ("id", "data", "transcript") if isinstance(value := raw.get(name), str)})
    if audio.data:
        audio.format = next((kind for head, kind in _SOUNDS if audio.data.startswith(head)), None)
    return audio


def read_audio_delta(raw: Any, choice: int) -> AudioDelta | None:
    """None where it holds neither sound nor words: the last one has only `expires_at`."""
    if not isinstance(raw, dict):
        return None
    data, transcript, identity = raw.get("data"), raw.get("transcript"), raw.get("id")
    delta = AudioDelta(
        data if isinstance(data, str) else "",
        transcript if isinstance(transcript, str) else "",
        identity if isinstance(identity, str) and identity else None,
        choice,
    )
    return delta if delta.data or delta.transcript or delta.id else None


def write_audio(audio: Audio) -> dict[str, Any]:
    """`expires_at` is required; 0 says that no server keeps the sound under this id."""
    return {"id": audio.id or "", "data": audio.data or "", "transcript": audio.transcript or "", "expires_at": 0}


def read_images(raw: Any) -> tuple[list[Image], list[Any]]:
    """The images of a message or delta, and what could not be read."""
    images: list[Image] = []
    rest: list[Any] = []
    for one in raw if isinstance(raw, list) else []:
        if (image := read_image(one)) is not None:
            images.append(image)
        else:
            rest.append(one)
    return images, rest


def read_image(raw: Any) -> Image | None:
    given = raw.get("image_url") if isinstance(raw, dict) else None
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url:
        return None
    media_type, data = split_data_url(url) or (None, None)
    return Image(media_type=media_type, data=data, url=url if data is None else None)


def write_image(image: Image, index: int) -> dict[str, Any] | None:
    """None for an image that only a file id names."""
    if (url := image_url(image)) is None:
        return None
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


def image_url(image: Image) -> str | None:
    if image.data is not None:
        return f"data:{image.media_type or sniff(image.data) or 'image/png'};base64,{image.data}"
    return image.url
