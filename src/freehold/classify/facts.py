"""From what a dialect peeked at to the facts that routing decides on."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from freehold.dialects.peek import Peek
from freehold.labels import Label

BYTES_PER_TOKEN = 4
"""A rough mean for English and JSON under today's tokenizers; other scripts need fewer bytes a token, so a limit that
is decided on this estimate is a soft one."""
ASSUMED_OUTPUT = 1024
"""Tokens held for an answer whose length the client did not limit; the settlement corrects it."""

LIKELY_OUTPUT = 211
"""Tokens: the mean of the 19,366 answers in Azure's published conversation trace of 2023."""

MOST_OUTPUT = 1 << 40
"""Tokens. A client may name any number, but what is held and journalled must stay one that a machine word can carry."""

_FLAGS = ("tools", "parallel_tools", "schema", "images", "audio", "documents")


class Facts(Struct, gc=False):
    """Sizes are tokens, estimated. `needs` holds capability names as in `config.schema.Capability`."""

    asked: str
    needs: frozenset[str]
    input_tokens: int
    output_tokens: int
    stream: bool = False
    kind: str = "chat"
    """chat, completions, embeddings, rerank, moderations, image_generation, speech or transcription."""
    limit: int | None = None
    """Tokens that the client limits each answer to; None where it does not."""
    label: Label | None = None
    """How sensitive it is; None: as its key's requests are at least."""
    reading: Any = None
    """What the predictor read in the prompt (decide/predict); only where a route ranks by it."""
    session: int = 0
    """What tells its conversation from others (serve/sessions.py); 0 where nobody asked."""
    leaving: Callable[[str], tuple[Label, str] | None] | None = None
    """By a deployment's name: the label under which it goes there where that is not its own, and what lowered it; None
    where it goes as it is. Not there for most requests: nothing lowers their label."""

    @property
    def likely_output(self) -> int:
        """Tokens that an answer has as a rule: what prices and times are expected from, not held."""
        return min(self.output_tokens, LIKELY_OUTPUT)

    @property
    def held(self) -> int:
        """The worst case in tokens, to be held against a limit before the call."""
        return self.input_tokens + self.output_tokens


_NOTHING: frozenset[str] = frozenset()


GENERATES = frozenset({"chat", "completions", "image_generation", "speech", "transcription"})
"""Kinds whose answers cost output tokens."""
TALKS = frozenset({"chat", "completions"})


def facts(peek: Peek, kind: str = "chat") -> Facts:
    """`kind` is what is asked for, see `Facts.kind`."""
    needs = _NOTHING
    if kind not in TALKS:
        pass  # what the model must be able to do is the kind itself
    elif peek.tools or peek.schema or peek.images or peek.audio or peek.documents:
        needs = frozenset(name for name in _FLAGS if getattr(peek, name))
    output = 0
    if kind in GENERATES:
        output = (peek.max_tokens or ASSUMED_OUTPUT) * peek.n
        if output > MOST_OUTPUT:
            output = MOST_OUTPUT
    return Facts(peek.model, needs, peek.input_bytes // BYTES_PER_TOKEN + 1, output, peek.stream, kind, peek.max_tokens)
