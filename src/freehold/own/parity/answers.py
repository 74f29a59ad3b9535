"""What either side answers, and what it is asked. Both travel as one line of JSON between processes.

A *position* is a place in a sequence of tokens; `at` says how many tokens stand before it. There each side has a
distribution over the next token, of which the likeliest are kept as natural logarithms.
"""

from typing import Any

from msgspec import Struct


class Conversation(Struct, frozen=True):
    """Messages and tools in the shape of OpenAI's chat completions; a tool call's arguments are a JSON string."""

    name: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None


class Questions(Struct, frozen=True):
    """`continuation` is the number of tokens to go on greedily; `window` how many positions of each text are looked at,
    counted back from its end; `top` how many tokens of each distribution are kept. `longest` is how many tokens the
    model can hold: of a longer text it gets the beginning, with room left to go on."""

    texts: list[str]
    conversations: list[Conversation]
    continuation: int = 16
    window: int = 24
    top: int = 128
    longest: int = 512

    def begin(self, ids: list[int]) -> list[int]:
        """Returns what the model gets of a text."""
        return ids[: max(1, self.longest - self.continuation)]


class Position(Struct, frozen=True):
    """The likeliest tokens, best first. `logprobs` are natural logarithms."""

    at: int
    ids: list[int]
    logprobs: list[float]


class Passage(Struct):
    """One text. `ids` is the whole of it; `continuation` what greedy decoding says after `Questions.begin(ids)`,
    without the token that ended it, if one did. `spaced` are the tokens of the text with one space before it."""

    text: str
    ids: list[int]
    continuation: list[int]
    ended: bool
    positions: list[Position]
    spaced: list[int] = []


class Rendered(Struct):
    """One conversation as the template renders it, ready for the answer; `error` is the template's own refusal. `begin`
    is the beginning-of-text that the rendered text starts with, if it does."""

    name: str
    text: str = ""
    begin: str = ""
    ids: list[int] = []
    error: str | None = None


class Ends(Struct):
    """`ids` end an answer, `declared` first of all; `special` are all tokens that no text contains."""

    ids: list[int]
    special: list[int]
    declared: int | None = None


class Answers(Struct):
    """One side's answers. `who` names the software, its version and the arithmetic; `template` whether there is one."""

    who: str
    passages: list[Passage]
    chats: list[Rendered]
    ends: Ends
    template: bool
