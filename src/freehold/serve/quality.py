"""What an answer shows of its own quality, for canaries (own/rollout.py): did one that was held to JSON become JSON?

Read from whole answers of the chat dialect, in which all owned engines answer; a model whose conversion or quantisation
is damaged breaks here first, long before its error rate moves.
"""

import msgspec
from msgspec import Struct


class _Message(Struct):
    content: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]


_COMPLETION = msgspec.json.Decoder(_Completion)
_ANY = msgspec.json.Decoder()


def broke_schema(body: bytes) -> bool | None:
    """Whether an answer that was asked to fit a JSON schema is no JSON. None where that cannot be said: it calls tools,
    is cut at its limit, or is in another dialect."""
    try:
        choices = _COMPLETION.decode(body).choices
    except msgspec.DecodeError:
        return None
    if len(choices) != 1 or choices[0].finish_reason != "stop" or choices[0].message.tool_calls:
        return None
    try:
        _ANY.decode(choices[0].message.content or "")
    except msgspec.DecodeError:
        return True
    return False
