"""A question of our own to a model: asked whole, answered once, for nobody but us to read.

It is written from a canonical conversation in the target's dialect, never stored, and never streamed.
"""

from collections.abc import Collection
from typing import ClassVar

import msgspec

from freehold.call.languages import PROVIDER
from freehold.call.operation import Prepared, no_stream, refuse_losses
from freehold.call.retries import Effects
from freehold.call.sample import reading
from freehold.call.target import Target
from freehold.dialects.conversation import Conversation, Losses, Part, Reply, Text
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.errors import UpstreamBroken


class Consult:
    """Implements `call.operation.Operation`. `reply` is the answer once the call has been made."""

    __slots__ = ("_conversation", "_needs", "peek", "reply")
    effects: ClassVar[Effects] = "none"

    def __init__(self, conversation: Conversation, needs: Collection[str] = ()) -> None:
        """`needs`: fields without which the question would be another one, such as `chat_template_kwargs`."""
        self._conversation = conversation
        self._needs = needs
        self.reply: Reply | None = None
        size = sum(_size(part) for part in conversation.system)
        size += sum(_size(part) for turn in conversation.turns for part in turn.parts)
        self.peek = Peek(conversation.model, max_tokens=conversation.max_tokens, input_bytes=size)

    def prepare(self, target: Target) -> Prepared:
        """Raises BadRequest or LossRefused where the target's dialect cannot say what is asked."""
        conversation = msgspec.structs.replace(self._conversation, model=target.model)
        provider = PROVIDER[target.dialect]
        losses: Losses = []
        body = provider.write_request(conversation, losses, target.traits)
        refuse_losses([name for name in losses if name in self._needs], target, strict=True)
        if target.rewrite is not None:
            body = target.rewrite(body)
        options = reading(target, conversation)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            self.reply = reply = provider.read_reply(answer, **options)
            if not reply.choices:
                raise UpstreamBroken("the model's answer has no choices")
            return b"", Receipt(reply.id, reply.model or target.model, reply.usage, reply.choices[0].finish, None)

        return Prepared(target.head(target.dialect, False), body, losses, read, no_stream, provider.read_error)


def _size(part: Part) -> int:
    return len(part.text.encode("utf-8", "replace")) if isinstance(part, Text) else 0
