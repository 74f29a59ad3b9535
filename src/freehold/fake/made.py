"""What an answer of the fake's media endpoints is, and how their requests are read: JSON, or a form with files.

Forms are read with the standard library's e-mail parser, so that what this project writes is not judged by its own
reader.
"""

import email.parser
import email.policy
from typing import Any

import msgspec
from msgspec import Struct

from freehold.errors import BadRequest
from freehold.fake.ask import Request
from freehold.fake.speak import JSON_TYPE


class Made(Struct):
    """An answer: one body, or the parts of a stream. Tokens are what it costs."""

    parts: list[bytes]
    kind: bytes = JSON_TYPE
    streamed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    headers: list[tuple[bytes, bytes]] = []


class Upload(Struct):
    """A file of a form."""

    name: str
    data: bytes


def read_fields(request: Request) -> dict[str, Any]:
    """A JSON object, or a form: texts, files, lists of both under names that end with []."""
    kind = request.headers.get(b"content-type", b"").decode("latin-1")
    if kind.lower().startswith("multipart/form-data"):
        return _form(kind, request.body)
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise BadRequest(f"the body is not a JSON object: {problem}") from None


def _form(kind: str, body: bytes) -> dict[str, Any]:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: %b\r\n\r\n%b" % (kind.encode("latin-1"), body))
    if not message.is_multipart() or message.defects:
        raise BadRequest("the form cannot be read")
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise BadRequest("a part of the form has no name")
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        file = part.get_filename()
        try:
            value: Any = content.decode() if file is None else Upload(file, content)
        except UnicodeDecodeError:
            raise BadRequest(f"the field {name} is not UTF-8", param=name) from None
        if name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(value)
        elif name in fields:
            raise BadRequest(f"duplicate field {name}", param=name)
        else:
            fields[name] = value
    return fields


def need(given: dict[str, Any], name: str, kind: type = str) -> Any:
    value = given.get(name)
    if not isinstance(value, kind) or value == "":
        raise BadRequest(f"Missing required parameter: '{name}'.", param=name)
    return value
