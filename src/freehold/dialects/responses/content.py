"""Content parts of messages and tool outputs as a client sends them: read into canonical parts.

A part we do not know stays an `Opaque` whose value has the one key `$content`; unknown fields of a part we know follow
it as an `Opaque` with the key `$part`. Raises BadRequest with the dotted path of the field.
"""

from typing import Any

from freehold.dialects.conversation import Audio, CacheTtl, Document, Image, Opaque, Part, Refusal, Text
from freehold.dialects.media import split_data_url
from freehold.dialects.responses.annotations import DIALECT, read_annotations
from freehold.dialects.wire import check_dict, check_list, check_str, refuse


def read_content(content: Any, path: str, item_id: str | None = None) -> list[Part]:
    """A string or an array of parts. `item_id` is the id of an assistant's message."""
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content, item_id=item_id)]
    if not isinstance(content, list):
        refuse(path, "a string or an array of content parts", content)
    parts: list[Part] = []
    for index, raw in enumerate(content):
        parts += _read_part(raw, f"{path}.{index}", item_id)
    return parts


def _read_part(raw: Any, path: str, item_id: str | None) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw, item_id=item_id)]
    part = check_dict(raw, path)
    kind = check_str(part.get("type"), f"{path}.type")
    if len(part) == 2 and kind in _TEXTS:
        return [Text(check_str(part.get("text"), f"{path}.text"), item_id=item_id)]
    reader = _READERS.get(kind)
    if reader is None:
        return [Opaque(DIALECT, {"$content": raw})]
    fields = {name: value for name, value in part.items() if value is not None}
    del fields["type"]
    read = reader(fields, path)
    if read is None:
        return [Opaque(DIALECT, {"$content": raw})]
    if isinstance(read, Text | Refusal):
        read.item_id = item_id
    return [read, Opaque(DIALECT, {"$part": fields})] if fields else [read]


# Each reader takes its fields out of `fields`; what stays is unknown. None: keep the part opaque.


def _text(fields: dict[str, Any], path: str) -> Part:
    fields.pop("logprobs", None)  # of an earlier answer; they say nothing to a model
    text = Text(check_str(fields.pop("text", None), f"{path}.text"), _cache(fields))
    if (annotations := fields.pop("annotations", None)) is not None:
        text.citations = read_annotations(check_list(annotations, f"{path}.annotations"))
    return text


def _refusal(fields: dict[str, Any], path: str) -> Part:
    return Refusal(check_str(fields.pop("refusal", None), f"{path}.refusal"))


def _image(fields: dict[str, Any], path: str) -> Part | None:
    image = Image(cache=_cache(fields))
    if "detail" in fields:
        image.detail = check_str(fields.pop("detail"), f"{path}.detail")
    if "image_url" in fields:
        url = fields.pop("image_url")
        if isinstance(url, dict):  # chat's form, which editors send here
            url = url.get("url")
        url = check_str(url, f"{path}.image_url")
        if (split := split_data_url(url)) is not None:
            image.media_type, image.data = split
        else:
            image.url = url
        fields.pop("file_id", None)
    elif "file_id" in fields:
        image.file_id = check_str(fields.pop("file_id"), f"{path}.file_id")
    else:
        return None
    return image


def _file(fields: dict[str, Any], path: str) -> Part | None:
    document = Document(cache=_cache(fields))
    if "filename" in fields:
        document.title = check_str(fields.pop("filename"), f"{path}.filename")
    if "file_data" in fields:
        data = check_str(fields.pop("file_data"), f"{path}.file_data")
        document.media_type, document.data = split_data_url(data) or (None, data)
    elif "file_url" in fields:
        document.url = check_str(fields.pop("file_url"), f"{path}.file_url")
    elif "file_id" in fields:
        document.file_id = check_str(fields.pop("file_id"), f"{path}.file_id")
    else:
        return None
    return document


def _audio(fields: dict[str, Any], path: str) -> Part:
    audio = check_dict(fields.pop("input_audio", None), f"{path}.input_audio")
    return Audio(
        check_str(audio.get("data"), f"{path}.input_audio.data"),
        check_str(audio.get("format"), f"{path}.input_audio.format"),
    )


def _cache(fields: dict[str, Any]) -> CacheTtl | None:
    """`prompt_cache_breakpoint`; its lifetimes (30 minutes, 12 hours) are the short and the long one."""
    point = fields.pop("prompt_cache_breakpoint", None)
    if not isinstance(point, dict):
        return None
    return "1h" if point.get("ttl") == "12h" else "5m"


def write_cache(part: dict[str, Any], cache: CacheTtl | None) -> None:
    if cache is not None:
        part["prompt_cache_breakpoint"] = {"mode": "explicit", **({"ttl": "12h"} if cache == "1h" else {})}


_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_READERS = {
    **dict.fromkeys(_TEXTS, _text),
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
