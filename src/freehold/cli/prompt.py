"""What a person hands to `ask` and `explain`, as a message of the chat dialect: words, files, and what is piped in."""

import base64
import json
import mimetypes
import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

MAX_BYTES = 20 << 20
"""Of one file, or of what is piped in: base64 makes a third more of it, and the gateway takes 50 MB by default."""
_AUDIO = {"audio/x-wav": "wav", "audio/wav": "wav", "audio/mpeg": "mp3"}


def piped() -> str:
    """Returns what another program or a file sends to stdin; nothing when a person or nobody is there."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        mode = stat.S_IFREG  # a stand-in without a descriptor, as a test runner has it
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"more than {MAX_BYTES >> 20} MB came through the pipe")
    return data.decode("utf-8", "replace").strip("\r\n")


def user_message(words: str, files: tuple[Path, ...]) -> dict[str, Any]:
    """Returns one user message: text files before the words, each under its name; images, PDF and audio as parts.

    Raises BadParameter for a file that is too large or of a kind that no dialect carries.
    """
    texts, parts = [], []
    for path in files:
        data = _read(path)
        kind = mimetypes.guess_type(path.name)[0] or ""
        encoded = base64.b64encode(data).decode()
        if kind.startswith("image/") and kind != "image/svg+xml":
            parts.append({"type": "image_url", "image_url": {"url": f"data:{kind};base64,{encoded}"}})
        elif kind == "application/pdf":
            named = {"filename": path.name, "file_data": f"data:{kind};base64,{encoded}"}
            parts.append({"type": "file", "file": named})
        elif kind in _AUDIO:
            parts.append({"type": "input_audio", "input_audio": {"data": encoded, "format": _AUDIO[kind]}})
        else:
            texts.append(f"File {path.name}:\n\n{_text(path, data)}")
    text = "\n\n".join([*texts, words] if words else texts)
    if not parts:
        return {"role": "user", "content": text}
    return {"role": "user", "content": [*parts, *([{"type": "text", "text": text}] if text else [])]}


def output_format(path: Path) -> dict[str, Any]:
    """Returns `response_format` for a file with a JSON Schema; strict where the schema itself closes its object."""
    try:
        schema = json.loads(_read(path, "--schema"))
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}", param_hint="--schema") from error
    if not isinstance(schema, dict):
        raise click.BadParameter(f"{path} is not a JSON Schema: it holds no object", param_hint="--schema")
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in path.stem)[:64] or "answer"
    strict = schema.get("additionalProperties") is False
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}


def printable(text: str) -> str:
    """Returns `text` without control characters but line breaks and tabs: a model must not steer the terminal."""
    return text.translate(_CONTROLS)


_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def _read(path: Path, option: str = "--file") -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint=option) from error
    if len(data) > MAX_BYTES:
        raise click.BadParameter(f"{path} is larger than {MAX_BYTES >> 20} MB", param_hint=option)
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.BadParameter(
            f"{path} is neither text nor an image, PDF, WAV or MP3", param_hint="--file"
        ) from error
