"""The order of turns that Anthropic and Gemini insist on, made from whatever a client sent.

Both want user and assistant turns to alternate (Gemini: beginning with the user), and the results of a turn's tool
calls at the head of the user turn right after it: every call answered, no answer without its call. OpenAI's dialect
allows far more. `arrange` keeps every part and its order where it can:

- system turns in mid-conversation are hoisted into the system prompt (reported as `messages.N.role`);
- neighbours of one role are joined, and an opening assistant turn gets a user turn before it;
- a call without a result gets one that says so (reported as `messages.N.tool_calls`);
- a result without its call becomes plain user content (reported as `messages.N.tool_result`);
- a Gemini signature carried inside a call's id moves to `ToolCall.signature`;
- calls with an empty id, or with one that an earlier turn used, get a new id, the same one every time, so that prompt
  caches still hit.

The input is never changed: another provider may be tried with it after this one.
"""

import msgspec
from msgspec import Struct, field

from freehold.dialects.conversation import Conversation, Losses, Part, Text, ToolCall, ToolResult, Turn
from freehold.dialects.tool_calls import split_signature

NO_RESULT = "No result was returned for this call."
OPENING = "Continue."
"""The user turn put before an assistant turn that opens a conversation."""


class Side(Struct):
    """What one side says until the other answers. `places` holds, for each part, the index of the turn it came from."""

    role: str
    parts: list[Part] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, part: Part, place: int) -> None:
        self.parts.append(part)
        self.places.append(place)


class Arranged(Struct):
    system: list[tuple[int, Part]] = field(default_factory=list)
    """Parts of hoisted system turns, each with the index of its turn."""
    sides: list[Side] = field(default_factory=list)


class Places:
    """Which of the client's messages each turn begins with, noted while they are read."""

    __slots__ = ("_conversation", "_places")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._places: list[int] = []

    def note(self, index: int) -> None:
        """The turns that are new since the last time began with message `index`."""
        self._places += [index] * (len(self._conversation.turns) - len(self._places))

    def close(self, last: int) -> None:
        """Keeps them, where the numbers differ; `last` is the number of the last message."""
        self.note(last)
        if self._places != list(range(len(self._places))):
            self._conversation.places = self._places


def arrange(turns: list[Turn], losses: Losses, hoist: bool = True, opening: bool = True) -> Arranged:
    """Puts `turns` in the order described above; what had to be changed is appended to `losses`.

    `hoist` False leaves system turns where they stand, as sides of their own; `opening` False lets the assistant begin.
    """
    arranged = Arranged()
    sides = arranged.sides
    for place, turn in enumerate(turns):
        if turn.role == "system" and hoist:
            if turn.parts:
                arranged.system += [(place, part) for part in turn.parts]
                losses.append(f"messages.{place}.role")
            continue
        if not turn.parts:
            continue
        if opening and not sides and turn.role == "assistant":
            sides.append(Side("user", [Text(OPENING)], [place]))
            losses.append(f"messages.{place}.role")
        if sides and sides[-1].role == turn.role:
            side = sides[-1]
        else:
            side = Side(turn.role)
            sides.append(side)
        side.parts += turn.parts
        side.places += [place] * len(turn.parts)
    if any(isinstance(part, ToolCall | ToolResult) for side in sides for part in side.parts):
        arranged.sides = _pair(sides, losses)
    return arranged


def _pair(sides: list[Side], losses: Losses) -> list[Side]:
    """Pairs calls with results, side by side."""
    paired: list[Side] = []
    used: set[str] = set()
    open_calls: list[tuple[ToolCall, str, int]] = []
    """Calls of the assistant's last turn: as the client has them, the id they go by, where they stand."""
    for side in sides:
        if side.role == "assistant":
            side, open_calls = _name_calls(side, used)
            paired.append(side)
        elif side.role == "system":
            paired.append(side)
        else:
            paired.append(_answer(side, open_calls, losses))
            open_calls = []
    if open_calls:
        paired.append(_answer(Side("user"), open_calls, losses))
    return [side for side in paired if side.parts]


def _name_calls(side: Side, used: set[str]) -> tuple[Side, list[tuple[ToolCall, str, int]]]:
    named = Side(side.role)
    calls = []
    for part, place in zip(side.parts, side.places, strict=True):
        if isinstance(part, ToolCall):
            base, signature = split_signature(part.id)
            name = base or f"call_{place}"
            number = 1
            while (unique := name if number == 1 else f"{name}_{number}") in used:
                number += 1
            used.add(unique)
            calls.append((part, unique, place))
            if unique != part.id:  # renamed, or it carried a signature
                part = msgspec.structs.replace(part, id=unique, signature=part.signature or signature)
        named.add(part, place)
    return named, calls


def _answer(side: Side, calls: list[tuple[ToolCall, str, int]], losses: Losses) -> Side:
    """The user side with the results of `calls` first, in the order of the calls."""
    waiting = list(calls)
    results: dict[str, tuple[ToolResult, int]] = {}
    rest = Side("user")
    for part, place in zip(side.parts, side.places, strict=True):
        if not isinstance(part, ToolResult):
            rest.add(part, place)
            continue
        found = next((entry for entry in waiting if entry[0].id == part.id), None)
        if found is None:
            losses.append(f"messages.{place}.tool_result")
            for inner in part.parts:
                rest.add(inner, place)
            continue
        waiting.remove(found)
        call, name, _ = found
        results[name] = (ToolResult(name, part.parts, part.name or call.name, part.is_error, part.cache), place)
    answered = Side("user")
    for call, name, place in calls:
        if name not in results:
            losses.append(f"messages.{place}.tool_calls")
            results[name] = (ToolResult(name, [Text(NO_RESULT)], call.name, True), place)
        answered.add(*results[name])
    answered.parts += rest.parts
    answered.places += rest.places
    return answered
