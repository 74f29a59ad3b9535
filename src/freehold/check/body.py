"""What a request says, as one text, whatever its dialect: the body itself with the escapes of JSON undone.

Every endpoint has fields of its own, and every provider more that we do not know. To read them one by one is to forget
one: a tool's description, metadata, a field that was added last week. So nothing is picked out. The whole body is the
text, keys and numbers and all, and what a key says of its value (`"password": "..."`) is seen as well. JSON inside a
string, as in the arguments of tools, has its escapes undone with the rest: a run of backslashes counts as one.

Left out is media in base64: what decodes to text is read, the rest is said to be unchecked. A form has its text fields
read, and its files where they are text.
"""

import binascii
import re
from typing import Any

import msgspec

from freehold.dialects.multipart import is_form, parse
from freehold.errors import BadRequest

MEDIA = "media"
"""What is said of what nobody could look into."""
LONG = 16_384
"""Characters of base64 in one piece that no detector reads: the longest web token has fewer."""
_SHORT = 200
_SIMPLE = ((b"\\n", b"\n"), (b'\\"', b'"'), (b"\\t", b"\t"), (b"\\r", b"\r"), (b"\\/", b"/"), (b"\\f", b"\f"))
_UNICODE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{200,}={0,2}")
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13} | {127})


def text_of(body: bytes, content_type: str = "") -> tuple[str, bool]:
    """Returns what a request says, and whether it also holds what cannot be read. Raises nothing for any body."""
    if content_type and is_form(content_type):
        return _form(body, content_type)
    return _plain(body)


def _plain(data: bytes) -> tuple[str, bool]:
    text = unescaped(data) if 0x5C in data else data.decode("utf-8", "replace")
    carries = len(data) > LONG or (data.find(b"data") >= 0 and (b'data"' in data or b"data:" in data))
    return _media(text) if carries else (text, False)


def unescaped(data: bytes) -> str:
    """Returns JSON with the escapes in its strings undone, those of JSON inside of strings too."""
    while data.find(b"\\\\") >= 0:
        data = data.replace(b"\\\\", b"\\")
    for escape, meant in _SIMPLE:
        data = data.replace(escape, meant)
        if 0x5C not in data:
            break
    text = data.decode("utf-8", "replace")
    place = text.find("\\u")
    if place < 0:
        return text
    pieces: list[str] = []
    done = 0
    while place >= 0:
        escapes = _UNICODE.match(text, place)
        if escapes is None:
            place = text.find("\\u", place + 2)
            continue
        pieces += (text[done:place], _characters(escapes.group()))
        done = escapes.end()
        place = text.find("\\u", done)
    pieces.append(text[done:])
    return "".join(pieces)


def _characters(escapes: str) -> str:
    units = bytes.fromhex(escapes.replace("\\u", ""))
    try:
        return units.decode("utf-16-be")
    except UnicodeDecodeError:
        return units.decode("utf-16-be", "replace")


def _media(text: str) -> tuple[str, bool]:
    """Takes out base64 that is long or no text, and reads what is text."""
    unread = False
    pieces: list[str] = []
    said: list[str] = []
    done = 0
    for run in _BASE64.finditer(text):
        found = _decoded(run.group())
        if found is not None:
            said.append(found)
        elif run.end() - run.start() < LONG:
            unread = unread or _is_media(text, run.start())
            continue
        else:
            unread = True
        pieces.append(text[done : run.start()])
        done = run.end()
    if not pieces:
        return text, unread
    return "".join([*pieces, text[done:], *(f"\n{one}" for one in said)]), unread


def _is_media(text: str, start: int) -> bool:
    """Whether what begins there is said to be media: shorter runs are read as they are, but that says little."""
    before = text[max(0, start - 40) : start]
    return "base64," in before or '"data"' in before or "b64_json" in before


def _decoded(run: str) -> str | None:
    """Returns the text that base64 stands for, None where it stands for something else."""
    head = _bytes(run[: _SHORT // 4 * 4])
    if head is None or head.translate(None, _CONTROLS) != head:
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return None
    whole = _bytes(run)
    try:
        return None if whole is None else whole.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _bytes(run: str) -> bytes | None:
    digits = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
    except binascii.Error:
        return None


def _form(body: bytes, content_type: str) -> tuple[str, bool]:
    try:
        form = parse(body, content_type)
    except BadRequest:
        return body.decode("utf-8", "replace"), True
    texts: list[str] = []
    unread = False
    for field in form.fields:
        data = body[field.start : field.end]
        try:
            texts.append(f"{field.name} = {field.filename or ''} {data.decode()}\n")
        except UnicodeDecodeError:
            unread = True
            texts.append(f"{field.name} = {field.filename or ''}\n")
    text, more = _media("".join(texts))
    return text, unread or more


def decoded(body: bytes) -> Any:
    """Returns the JSON of a body, None where it has none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
