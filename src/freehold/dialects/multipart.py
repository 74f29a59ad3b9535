"""multipart/form-data (RFC 7578, framing of RFC 2046), sans-IO: where each field of a body lies, and a writer.

An upload passes through this gateway as it came. What is needed of it is where its few short fields lie, so `parse`
returns offsets: a file part is searched once for the boundary (some milliseconds for 25 MB) and never copied,
and `Form.replaced` puts another value into one field and leaves every other byte alone.

Why no library: python-multipart and multipart are push parsers, made to write uploads to disk while they arrive. They
hand out copies of the content instead of places in the body, so a request could only be written anew, with other
headers, another boundary and without what they do not keep. They also accept what two parsers read differently, which
is the danger of this format here: we authorise, count and route by the `model` field, and the upstream must find the
same one. So whatever is ambiguous is a bad request: a name given twice in one part, escapes or control characters in
names, folded header lines, the boundary anywhere but at the beginning of a line, transfer encodings, a part without a
name, a body without its closing boundary. Tolerated, because clients send it: a preamble,
an epilogue, a missing last line break, padding after a boundary, unquoted names, `filename*`, unknown part headers.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from freehold.errors import BadRequest

MAX_PARTS = 256
MAX_HEAD = 8192
"""Bytes of one part's header lines."""
MAX_TEXT = 1024 * 1024
"""Bytes of a field that is read as text."""

_BOUNDARY = re.compile(r"[!#-\[\]-~](?:[ !#-\[\]-~]{0,198}[!#-\[\]-~])?")
_PARAMETER = re.compile(r';[ \t]*([^\s=;:"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN_ENCODINGS = ("7bit", "8bit", "binary")


class Field(Struct, frozen=True):
    """One part: its value is `body[start:end]`. `filename` None: a plain field."""

    name: str
    start: int
    end: int
    filename: str | None = None
    content_type: str | None = None

    @property
    def size(self) -> int:
        return self.end - self.start


class File(Struct, frozen=True):
    """A file to be written."""

    data: bytes
    filename: str
    content_type: str = "application/octet-stream"


class Form:
    """A parsed body. Names are looked up with and without `[]`, which clients put behind names of lists."""

    __slots__ = ("_boundary", "_first", "body", "fields")

    def __init__(self, body: bytes, fields: list[Field], boundary: bytes, first: int) -> None:
        self.body = body
        self.fields = fields
        self._boundary = boundary
        self._first = first
        """Where the first boundary stands."""

    def all(self, name: str) -> list[Field]:
        """The fields called `name` or `name[]`, in order."""
        listed = f"{name}[]"
        return [field for field in self.fields if field.name in (name, listed)]

    def one(self, name: str) -> Field | None:
        """The only field of that name. Raises BadRequest when there are several."""
        found = self.all(name)
        if len(found) > 1:
            raise BadRequest(f"'{name}' is given {len(found)} times.", param=name, code="invalid_multipart")
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """The value of the only field of that name; None without one. Raises BadRequest for files and bad UTF-8."""
        field = self.one(name)
        return None if field is None else self.read(field)

    def texts(self, name: str) -> list[str]:
        """The values of a list. Raises BadRequest as `text` does."""
        return [self.read(field) for field in self.all(name)]

    def read(self, field: Field) -> str:
        """The value of a plain field. Raises BadRequest for a file, bad UTF-8 or too much of it."""
        if field.filename is not None:
            raise BadRequest(f"'{field.name}': expected text, got a file.", param=field.name, code="invalid_type")
        if field.size > MAX_TEXT:
            raise BadRequest(f"'{field.name}' has more than {MAX_TEXT:,} bytes.", param=field.name)
        try:
            return self.body[field.start : field.end].decode()
        except UnicodeDecodeError:
            why = f"'{field.name}' is not valid UTF-8."
            raise BadRequest(why, param=field.name, code="invalid_multipart") from None

    def data(self, field: Field) -> memoryview:
        """The bytes of a part, not copied."""
        return memoryview(self.body)[field.start : field.end]

    def replaced(self, name: str, value: str) -> bytes:
        """The body with another value in field `name`, all other bytes as they came; with the field, if it had none.

        Returns the body itself where nothing changes. Raises BadRequest for several fields of that name, and for a
        value that holds the boundary.
        """
        new = value.encode()
        if self._boundary in new:
            raise BadRequest(f"'{name}' holds the boundary of the form.", param=name, code="invalid_multipart")
        body, field = self.body, self.one(name)
        if field is None:
            part = b"%b\r\n%b\r\n\r\n%b\r\n" % (self._boundary, _disposition(name, None), new)
            return body[: self._first] + part + body[self._first :]
        if body[field.start : field.end] == new:
            return body
        return b"".join((memoryview(body)[: field.start], new, memoryview(body)[field.end :]))


def parse(body: bytes, content_type: str) -> Form:
    """Finds the fields of `body`; `content_type` is the request's header. Raises BadRequest for what is no form."""
    boundary = b"--" + read_boundary(content_type)
    first = body.find(boundary)
    if first < 0:
        _refuse("the boundary of its Content-Type is not in the body")
    if first and body[first - 2 : first] != b"\r\n":
        _refuse("its boundary does not stand at the beginning of a line")
    fields: list[Field] = []
    position = first + len(boundary)
    while not body.startswith(b"--", position):
        position = _end_of_line(body, position)
        if len(fields) == MAX_PARTS:
            _refuse(f"it has more than {MAX_PARTS} parts")
        head, start = _head(body, position)
        mark = body.find(boundary, start)
        if mark < 0:
            _refuse("its closing boundary is missing")
        if mark < start + 2 or body[mark - 2 : mark] != b"\r\n":
            _refuse("its boundary does not stand at the beginning of a line")
        fields.append(_field(head, start, mark - 2))
        position = mark + len(boundary)
    if body[position + 2 : position + 3] not in (b"", b"\r", b" ", b"\t") or body.find(boundary, position) >= 0:
        _refuse("its boundary stands behind its end")
    return Form(body, fields, boundary, first)


def is_form(content_type: str) -> bool:
    """Whether a Content-Type header announces a form."""
    return content_type[:19].lower() == "multipart/form-data"


def read_boundary(content_type: str) -> bytes:
    """The boundary a Content-Type header names. Raises BadRequest."""
    kind, parameters = _parameters(content_type)
    if kind != "multipart/form-data":
        raise BadRequest(
            f"This endpoint takes multipart/form-data, not {kind[:100] or 'a body without Content-Type'}.",
            code="invalid_content_type",
        )
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        _refuse("its Content-Type has no usable boundary")
    return boundary.encode("ascii")


def replace_field(body: bytes, content_type: str, name: str, value: str) -> bytes:
    """`parse` and `Form.replaced` in one. Raises BadRequest."""
    return parse(body, content_type).replaced(name, value)


def write_form(fields: Iterable[tuple[str, str | File]]) -> tuple[bytes, str]:
    """Returns a body and its Content-Type. Names are escaped as browsers do (WHATWG HTML, multipart/form-data)."""
    given = list(fields)
    boundary = _fresh(value.data if isinstance(value, File) else value.encode() for _, value in given)
    out = []
    for name, value in given:
        out.append(b"--%b\r\n%b" % (boundary, _disposition(name, value)))
        out += (b"\r\n\r\n", value.data if isinstance(value, File) else value.encode(), b"\r\n")
    out.append(b"--%b--\r\n" % boundary)
    return b"".join(out), f"multipart/form-data; boundary={boundary.decode()}"


def _fresh(values: Iterator[bytes]) -> bytes:
    """128 random bits: no value holds them, unless it was made to, and it cannot know them."""
    kept = list(values)
    while True:
        boundary = b"freehold-" + secrets.token_hex(16).encode()
        if not any(boundary in value for value in kept):
            return boundary


def _disposition(name: str, value: "str | File | None") -> bytes:
    line = f'Content-Disposition: form-data; name="{_escape(name)}"'
    if isinstance(value, File):
        kind = _CONTROL.sub("", value.content_type).encode("ascii", "replace").decode()
        line += f'; filename="{_escape(value.filename)}"\r\nContent-Type: {kind}'
    return line.encode()


def _escape(text: str) -> str:
    return _CONTROL.sub("", text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22"))


def _end_of_line(body: bytes, position: int) -> int:
    """Where the line after a boundary begins."""
    while body[position : position + 1] in (b" ", b"\t"):
        position += 1
    if body[position : position + 2] != b"\r\n":
        if position >= len(body):
            _refuse("its closing boundary is missing")
        _refuse("a line begins like the boundary and is none")
    return position + 2


def _head(body: bytes, position: int) -> tuple[bytes, int]:
    """The header lines of a part, and where its value begins."""
    if body.startswith(b"\r\n", position):
        return b"", position + 2
    end = body.find(b"\r\n\r\n", position, position + MAX_HEAD)
    if end < 0:
        _refuse(f"the header of a part does not end, or has more than {MAX_HEAD} bytes")
    return body[position:end], end + 4


def _field(head: bytes, start: int, end: int) -> Field:
    disposition = content_type = None
    for line in head.split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            _refuse("a part has a malformed header line")
        key = name.lower()
        text = _decode(value.strip(b" \t"))
        if key == b"content-disposition":
            if disposition is not None:
                _refuse("a part has two Content-Disposition lines")
            disposition = text
        elif key == b"content-type":
            content_type = text
        elif key == b"content-transfer-encoding" and text.lower() not in _PLAIN_ENCODINGS:
            _refuse(f"a part is encoded as {text[:50]!r}")
    if disposition is None:
        _refuse("a part has no Content-Disposition")
    kind, parameters = _parameters(disposition)
    name_ = parameters.get("name")
    if kind != "form-data" or not name_ or "name*" in parameters or "\\" in name_ or _CONTROL.search(name_):
        _refuse("a part has no usable name")
    return Field(_unescape(name_), start, end, _filename(parameters), content_type)


def _filename(parameters: dict[str, str]) -> str | None:
    """`filename*` (RFC 5987) wins, as everywhere else, although RFC 7578 tells clients not to send it."""
    extended = parameters.get("filename*")
    if extended is not None:
        charset, _, rest = extended.partition("'")
        encoded = rest.partition("'")[2]
        try:
            return unquote_to_bytes(encoded).decode(charset or "utf-8", "replace")
        except LookupError:
            return encoded
    plain = parameters.get("filename")
    return None if plain is None else _unescape(plain.replace('\\"', '"'))


def _parameters(text: str) -> tuple[str, dict[str, str]]:
    """A header value as (kind, parameters). Raises BadRequest for parameters given twice or cut off."""
    kind, semicolon, _ = text.partition(";")
    parameters: dict[str, str] = {}
    position = len(kind)
    while semicolon and position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            if text[position:].strip(" \t;"):
                _refuse("a header has malformed parameters")
            break
        key, quoted, token = match.groups()
        if key.lower() in parameters:
            _refuse(f"a header names {key.lower()[:50]!r} twice")
        parameters[key.lower()] = token if quoted is None else quoted
        position = match.end()
    return kind.strip(" \t").lower(), parameters


def _unescape(text: str) -> str:
    """Undoes what browsers do to names; nothing else that is percent-encoded."""
    if "%" not in text:
        return text
    return re.sub(r"%(22|0D|0A)", lambda match: chr(int(match[1], 16)), text, flags=re.IGNORECASE)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _refuse(why: str) -> NoReturn:
    raise BadRequest(f"The form cannot be read: {why}.", code="invalid_multipart")
