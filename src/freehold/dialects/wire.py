"""JSON at the border: bytes into values, with errors a person can act on.

msgspec is strict about JSON but does not look inside what it skips, so a body is checked for valid UTF-8 first (free
for ASCII); nesting deeper than the interpreter's stack is a bad request, not a crash. The `check_*` helpers below are
for readers that walk decoded JSON: each names the field it refuses, in the dotted form (`messages.2.content`) that
clients show their users.
"""

import re
from typing import Any, NoReturn, TypeVar

import msgspec

from freehold.errors import BadRequest

T = TypeVar("T")

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding untrusted JSON raises (a ValidationError is a DecodeError)."""

_PATH = re.compile(r" - at `(?:key in )?\$\.?(.*?)`$")


def check_utf8(body: bytes) -> None:
    """Raises BadRequest when `body` is not UTF-8."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"The request body is not valid UTF-8 (byte {error.start}).", code="invalid_json"
            ) from None


def decode_request(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decodes a client's body. Raises BadRequest for bad UTF-8, malformed or too deeply nested JSON, wrong types."""
    check_utf8(body)
    try:
        return decoder.decode(body)
    except MALFORMED as error:
        raise bad_request(error) from None


def decode_field(raw: bytes | msgspec.Raw, param: str) -> Any:
    """Decodes one field of a client's body that was left raw. Raises BadRequest for a number beyond what a float or an
    integer here can hold, and for deep nesting."""
    try:
        return _ANY.decode(raw)
    except MALFORMED as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number in it is out of range"
        raise BadRequest(f"'{param}': {reason}.", param=param, code="invalid_json") from None


_ANY = msgspec.json.Decoder()


def one_line(valid: bytes) -> bytes:
    """The same JSON without line ends, which may stand between its tokens only: server-sent events and JSON lines end
    at them. `valid` has been decoded before."""
    if valid.find(b"\n") < 0 and valid.find(b"\r") < 0:
        return valid
    return valid.replace(b"\n", b" ").replace(b"\r", b" ")


def bad_request(error: Exception) -> BadRequest:
    """The BadRequest for what a decoder raised; a wrong type names its field as `param`."""
    if isinstance(error, RecursionError):
        return BadRequest("The JSON is nested too deeply.", code="invalid_json")
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        match = _PATH.search(text)
        param = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", match.group(1)).strip(".") if match else ""
        reason = (text[: match.start()] if match else text).replace("`", "")
        if not param and (missing := re.search(r"missing required field (\S+)", reason)):
            param = missing.group(1)
        where = f"'{param}': " if param else "The request body: "
        return BadRequest(f"{where}{reason[:1].lower()}{reason[1:]}.", param=param or None, code="invalid_type")
    return BadRequest(f"The request body is not valid JSON: {text}.", code="invalid_json")


def refuse(param: str, expected: str, value: Any) -> NoReturn:
    """Raises BadRequest: `param` is not what was expected."""
    raise BadRequest(f"'{param}': expected {expected}, got {json_kind(value)}.", param=param, code="invalid_type")


def refuse_raw(param: str, expected: str, raw: bytes) -> NoReturn:
    """As `refuse`, for a value that was not decoded, and perhaps cannot be: a number beyond a float, a deep nest."""
    raise BadRequest(
        f"'{param}': expected {expected}, got {_KINDS.get(raw[:1], 'a number')}.", param=param, code="invalid_type"
    )


def refuse_messages(raw: bytes) -> NoReturn:
    """Raises BadRequest for `messages` that are none or no array."""
    if not raw:
        raise BadRequest("The request has no 'messages'.", param="messages", code="missing_required_parameter")
    refuse_raw("messages", "an array", raw)


_KINDS = {
    b"n": "null",
    b"t": "a boolean",
    b"f": "a boolean",
    b'"': "a string",
    b"[": "an array",
    b"{": "an object",
}
"""What undecoded JSON is by its first byte, where it is no number."""


def json_kind(value: Any) -> str:
    """The JSON word for a decoded value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def check_str(value: Any, param: str) -> str:
    return value if isinstance(value, str) else refuse(param, "a string", value)


def check_dict(value: Any, param: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else refuse(param, "an object", value)


def check_list(value: Any, param: str) -> list[Any]:
    return value if isinstance(value, list) else refuse(param, "an array", value)


def check_int(value: Any, param: str) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else refuse(param, "an integer", value)


def check_number(value: Any, param: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    refuse(param, "a number", value)


def check_bool(value: Any, param: str) -> bool:
    return value if isinstance(value, bool) else refuse(param, "a boolean", value)
