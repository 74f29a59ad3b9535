"""What guards have in common: what they are shown of a conversation, and the probability of their first word."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from freehold.check.moderate.verdict import Verdict
from freehold.dialects.conversation import Conversation, Reply, Text, ToolCall, ToolResult, Turn

SHOWN = 12
"""The last turns of a conversation that a guard is shown."""
MOST_SHOWN = 24_000
"""Characters of a turn that a guard is shown: its head and its tail. A guard's context is small."""
ALTERNATIVES = 5
SURE = 0.95
"""The score of a plain yes, where the engine gives no probabilities."""


class Guard(Struct, frozen=True):
    """A family of guard models.

    `requests` makes the chat requests to put to the model, from its name, the conversation and the answer that is
    judged; without an answer the last user turn is. `read` takes a reply for each of them, in their order; a missing
    one is None.
    """

    name: str
    requests: Callable[[str, Conversation, str | None], list[Conversation]]
    read: Callable[[Sequence[Reply | None]], Verdict]


def failed(guard: str, why: str) -> Verdict:
    return Verdict.failure(guard, why)


def spoken(conversation: Conversation) -> list[Turn]:
    """User and assistant in turn, text only, each of any length.

    Guards know these two voices and no other, so a tool's result is shown as the user's: it is what the assistant was
    told. Neighbours of the same voice are one turn. Instructions are left out: they are the operator's own.
    """
    turns: list[Turn] = []
    for turn in conversation.turns:
        if turn.role != "system" and (shown := text_of(turn)):
            _add(turns, turn.role, shown)
    return turns


def turns_of(conversation: Conversation, answer: str | None) -> list[Turn]:
    """The last turns, ending with the one that is judged, each no longer than a guard is shown."""
    turns = spoken(conversation)
    if answer is not None:
        _add(turns, "assistant", answer)
    while turns and answer is None and turns[-1].role == "assistant":
        turns.pop()
    turns = turns[-SHOWN:]
    if turns and turns[0].role == "assistant":
        turns = turns[1:] if len(turns) > 1 else [Turn("user", [Text("")]), *turns]
    return [Turn(turn.role, [Text(_short(text_of(turn)))]) for turn in turns]


def request(model: str, turns: list[Turn], tokens: int, **unknown: Any) -> Conversation:
    """`unknown` are fields for the engine that the chat dialect passes on: `chat_template_kwargs`."""
    return Conversation(
        model=model,
        turns=turns,
        max_tokens=tokens,
        temperature=0.0,
        logprobs=True,
        top_logprobs=ALTERNATIVES,
        unknown=unknown,
        dialect="chat",
    )


def said(reply: Reply | None) -> str | None:
    """The text of an answer; None where there is none, or it was cut off by anything but its length."""
    if reply is None or not reply.choices:
        return None
    choice = reply.choices[0]
    if choice.finish not in ("stop", "length"):
        return None
    text = "".join(part.text for part in choice.parts if isinstance(part, Text)).strip()
    return text or None


def probability(reply: Reply, yes: frozenset[str], no: frozenset[str]) -> float | None:
    """How likely the answer was to begin with one of `yes`, of `yes` and `no` together; None where nothing tells.

    The first token that is one of either is looked at: engines put white space and thoughts before it. Words are lower
    case; a token may be the beginning of a word (`un`, `Ye`).
    """
    logprobs = reply.choices[0].logprobs if reply.choices else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for token in content if isinstance(content, list) else []:
        if not isinstance(token, dict) or not isinstance(word := token.get("token"), str):
            return None
        if not (_is(word, yes) or _is(word, no)):
            continue
        others = token.get("top_logprobs")
        total = {True: 0.0, False: 0.0}
        for other in [*(others if isinstance(others, list) else []), *([] if others else [token])]:
            value = other.get("logprob") if isinstance(other, dict) else None
            if not isinstance(value, int | float) or not isinstance(other.get("token"), str) or math.isnan(value):
                continue
            if _is(other["token"], yes):
                total[True] += math.exp(min(0.0, value))
            elif _is(other["token"], no):
                total[False] += math.exp(min(0.0, value))
        together = total[True] + total[False]
        return total[True] / together if together > 0 else None
    return None


def _is(token: str, words: frozenset[str]) -> bool:
    return token.strip().lower() in words


def _add(turns: list[Turn], role: Any, text: str) -> None:
    if turns and turns[-1].role == role:
        text = f"{text_of(turns.pop())}\n\n{text}"
    turns.append(Turn(role, [Text(text)]))


def text_of(turn: Turn) -> str:
    pieces = []
    for part in turn.parts:
        if isinstance(part, Text):
            pieces.append(part.text)
        elif isinstance(part, ToolCall):
            pieces.append(f"{part.name}({part.arguments})")
        elif isinstance(part, ToolResult):
            pieces += [inner.text for inner in part.parts if isinstance(inner, Text)]
    return "\n".join(filter(None, pieces))


def _short(text: str) -> str:
    half = MOST_SHOWN // 2
    return text if len(text) <= MOST_SHOWN else f"{text[:half]}\n[...]\n{text[-half:]}"
