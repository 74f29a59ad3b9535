"""An answer against its request: may it be shown, or should a better model be asked?

The checks of a cascade, by the names of `config.schema_routing.CascadeCheck`, on the canonical conversation and reply,
so that they are the same for every dialect. They are tried in the order of their cost; the first doubt ends it.

    complete   it ended by itself, says something, and is no refusal
    schema     it fits the JSON schema or the tools of the request
    json       it is JSON, or calls tools with JSON, whatever was asked for
    logprobs   the model was sure of its least sure tokens (confidence.py)
    extract    every value of its JSON stands in the request (extracted.py)
    agree      several samples say the same (agreement.py); these cost calls, so serve/cascade.py carries it out

A check that has nothing to look at passes: a plain text has no schema. One that cannot be made is doubt, never a pass:
a schema with keywords that nobody here understands, an engine that gives no log-probabilities, a bug. Reasons name
places and rules and never what an answer says, because they are written to logs and headers.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from freehold.check.calls import broken_call
from freehold.check.confidence import confidence
from freehold.check.extracted import not_found
from freehold.check.pattern import Unsupported
from freehold.check.schema import violation
from freehold.check.words import calls_of, normalised, source_of, text_of
from freehold.config.schema_routing import Cascade
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Conversation,
    Document,
    Image,
    Opaque,
    Refusal,
    Reply,
)

MOST_REASON = 200
"""Characters of a reason."""
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ANY = msgspec.json.Decoder()
_UNPRINTABLE = re.compile(r"[^ -~]")


class Verdict(Struct, frozen=True):
    """`check` is the check that had doubts, or all that passed, with commas between; `reason` says why, in words."""

    passed: bool
    check: str
    reason: str = ""

    @property
    def brief(self) -> str:
        """For the ledger, which keeps each of its reasons once: there are few of these."""
        return f"passed {self.check}" if self.passed else f"doubt: {self.check}"

    @property
    def words(self) -> str:
        """For headers, explanations and the log: one line of printable ASCII."""
        text = self.brief if self.passed else f"{self.brief}: {self.reason}"
        return _UNPRINTABLE.sub("?", text)[:MOST_REASON]


def judge(request: Conversation, reply: Reply, rule: Cascade) -> Verdict:
    """Makes all checks of `rule` but `agree`. Never raises: what raises inside a check is doubt."""
    wanted = [name for name in CHECKS if name in rule.checks]
    for name in wanted:
        try:
            reason = _doubt(name, request, reply, rule)
        except Unsupported as error:
            reason = f"cannot be made: {error}"
        except Exception as error:
            reason = f"failed ({type(error).__name__})"
        if reason is not None:
            return Verdict(False, name, reason)
    return Verdict(True, ", ".join(wanted))


def _doubt(name: str, request: Conversation, reply: Reply, rule: Cascade) -> str | None:
    if not reply.choices:
        return "there is no answer"
    for choice in reply.choices:
        reason = CHECKS[name](request, choice, rule)
        if reason is not None:
            return reason
    return None


def _complete(_request: Conversation, choice: Choice, _rule: Cascade) -> str | None:
    if choice.refused or any(isinstance(part, Refusal) for part in choice.parts):
        return "it is a refusal"
    if choice.finish not in ("stop", "tool_calls"):
        return _FINISHES.get(choice.finish, "it did not end by itself")
    if calls_of(choice):
        return None
    text = text_of(choice).strip()
    if text:
        return "it reads like a refusal" if refuses(text) else None
    made = any(isinstance(part, Image | Audio | Document | Opaque) for part in choice.parts)
    return None if made else "it is empty"


_FINISHES = {
    "length": "it was cut off at its length limit",
    "content_filter": "a filter stopped it",
    "pause": "it paused and wants to go on",
    "error": "it ended in an error",
}
_MOST_REFUSAL = 400
"""Characters. Longer answers that begin so go on to help."""
_REFUSAL = re.compile(
    r"(?:(?:i['a ]*m|i am)\s+(?:very |really |so |truly )?(?:sorry|afraid)\b[^.!?]{0,40}?|sorry,?[^.!?]{0,30}?|"
    r"unfortunately,?[^.!?]{0,30}?|as an? (?:ai|language model|assistant)\b[^.!?]{0,60}?)?"
    r"\bi\s*(?:cannot|can['n ]*t|can not|am (?:not able|unable)|['a ]*m (?:not able|unable)|won['o ]*t|"
    r"will not|must decline|do not have (?:access|the ability)|don't have (?:access|the ability))\b"
)


def refuses(text: str) -> bool:
    """Whether a short text begins as refusals in English do. Other languages pass: this is a hint, not a filter."""
    return len(text) <= _MOST_REFUSAL and _REFUSAL.match(normalised(text)) is not None


def _schema(request: Conversation, choice: Choice, _rule: Cascade) -> str | None:
    calls = calls_of(choice)
    wrong = broken_call(request, calls) if calls or request.tool_choice is not None else None
    if wrong is not None or calls:
        return wrong
    output = request.output
    if output is None or output.kind == "text":
        return None
    try:
        value = _ANY.decode(text_of(choice))
    except _MALFORMED:
        return "it is no JSON"
    if output.kind == "json" or output.schema is None:
        return None if isinstance(value, dict) else "it is no JSON object"
    return violation(value, output.schema)


def _json(_request: Conversation, choice: Choice, _rule: Cascade) -> str | None:
    _, wrong = _values(choice)
    return wrong


def _values(choice: Choice) -> tuple[list[Any], str | None]:
    """What an answer says in JSON, the arguments of its calls first; and what of it is none."""
    calls, text = calls_of(choice), text_of(choice)
    values: list[Any] = []
    try:
        values += [_ANY.decode(call.arguments or "{}") for call in calls if not call.custom]
        if not calls:
            values.append(_ANY.decode(text))
    except _MALFORMED:
        return values, "the arguments of a call are no JSON" if calls else "it is no JSON"
    return values, None


def _logprobs(_request: Conversation, choice: Choice, rule: Cascade) -> str | None:
    found = confidence(choice.logprobs)
    if found is None:
        return "the model gave no log-probabilities"
    if found.least >= rule.logprob:
        return None
    margin = "" if found.margin is None else f", margin {found.margin:.2f}"
    return f"log-probability {found.least:.2f} at its least sure tokens is below {rule.logprob:g}{margin}"


def _extract(request: Conversation, choice: Choice, _rule: Cascade) -> str | None:
    values, wrong = _values(choice)
    if wrong is not None:
        return wrong
    listed = [request.output.schema if request.output is not None else None, *(tool.schema for tool in request.tools)]
    return not_found(values[0] if len(values) == 1 else values, source_of(request), listed)


Check = Callable[[Conversation, Choice, Cascade], "str | None"]
"""Returns why there is doubt about a choice, None for none. May raise anything, which is doubt."""

CHECKS: Mapping[str, Check] = {
    "complete": _complete,
    "json": _json,
    "schema": _schema,
    "logprobs": _logprobs,
    "extract": _extract,
}
"""In the order of their cost."""
