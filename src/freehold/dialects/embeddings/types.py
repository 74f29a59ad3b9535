"""The canonical embedding request and reply: what every embedding API can say, in one form.

`EmbeddingRequest` holds what some provider understands as a field of its own; whatever else the client sent is in
`unknown` and goes back to the client's own dialect only. A reader keeps the client's word for each field in `names`,
so that a writer can report a loss in the client's words (`lost`).

A vector is kept as it came, as numbers or as bytes (float32, little-endian), and is converted only when the client
asked for the other form.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, field

from freehold.dialects.conversation import Image, Losses, Text, Usage
from freehold.errors import LossRefused

Encoding = Literal["float", "base64"]
Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
"""What a number of a vector is. binary and ubinary hold eight dimensions a number, signed and unsigned."""
Truncate = Literal["none", "start", "end"]
"""Where an input that is too long is cut; none: it is refused."""
Vector = Sequence[float] | bytes
"""Numbers, or their float32 little-endian bytes."""


class Content(Struct):
    """An input that is more than one text: parts that together make one vector."""

    parts: list[Text | Image]


Input = str | list[int] | Content
"""A text, token ids, or parts."""


class EmbeddingRequest(Struct):
    """One vector is wanted for each of `inputs`.

    `task` is what the vector is for (input_type, task_type): one of the words of `tasks.TASKS`, or the client's own
    where it is none of these. `dtype`, `truncate` and `normalize` are None or "float" where the client did not ask.
    """

    model: str
    inputs: Sequence[Input]
    dimensions: int | None = None
    encoding_format: Encoding = "float"
    user: str | None = None
    task: str | None = None
    unknown: dict[str, Any] = field(default_factory=dict)
    dtype: Dtype = "float"
    truncate: Truncate | None = None
    normalize: bool | None = None
    title: str | None = None
    """Gemini's, of a document."""
    single: bool = False
    """Asked for by Gemini's method for one content (`:embedContent`), and so passed on to Gemini itself."""
    nulls: tuple[str, ...] = ()
    """Fields that the client sent as null: the same as absent, but kept for a provider whose words they are."""
    names: dict[str, str] = field(default_factory=dict)
    """Canonical field -> the client's word for it, where it is another."""
    dialect: str = "chat"
    """The client's."""


class EmbeddingReply(Struct):
    """`vectors` in the order of the inputs. `dtype` is what their numbers are, where they are no floats."""

    model: str
    vectors: list[Vector]
    usage: Usage | None = None
    dtype: Dtype = "float"
    id: str = ""


def lost(request: EmbeddingRequest, losses: Losses, *names: str) -> None:
    """Reports those of the canonical fields `names` that the client set and the provider cannot carry."""
    for name in names:
        if getattr(request, name) not in (None, "float"):
            losses.append(request.names.get(name, name))


def lost_unknown(request: EmbeddingRequest, losses: Losses, carried: Sequence[str] = ()) -> None:
    """Reports the client's other fields, but for those `carried` and those that are canonical fields as well."""
    canonical = {*request.names.values(), *carried}
    losses.extend(name for name in request.unknown if name not in canonical)


def plain_texts(request: EmbeddingRequest, provider: str) -> list[str]:
    """The inputs as texts. Raises LossRefused for token ids and images, which `provider` cannot read."""
    return [text_of(given, index, provider) for index, given in enumerate(request.inputs)]


def text_of(given: Input, index: int, provider: str) -> str:
    """One input as text; see `plain_texts`."""
    if isinstance(given, str):
        return given
    if isinstance(given, Content) and all(isinstance(part, Text) for part in given.parts):
        return "\n".join(part.text for part in given.parts if isinstance(part, Text))
    raise refused(given, index, provider)


def refused(given: Input, index: int, provider: str) -> LossRefused:
    """The error for an input that a provider cannot read: another deployment may."""
    if isinstance(given, list):
        return LossRefused(
            f"{provider} embeds text, not token ids.", param=f"input.{index}", hint="send the text itself"
        )
    return LossRefused(f"{provider} cannot embed this image.", param=f"input.{index}", hint="ask another model")
