"""The same request once more, for an answer that nobody sees: to compare it with the one that somebody may.

Asked whole, whatever the client asked; at a temperature above 0, or the same answer would come back; with a seed of its
own where the client gave one; never to be stored. Written from the canonical conversation, so fields that only a
pass-through would carry are left out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.call.languages import PROVIDER
from freehold.call.operation import Prepared, no_stream
from freehold.call.talk import Talk
from freehold.call.target import Target
from freehold.dialects.conversation import Conversation, Losses, Reply
from freehold.dialects.receipt import Receipt
from freehold.errors import InternalError, UpstreamBroken

TEMPERATURE = 0.7
"""The least a sample is drawn with; where self-consistency was measured (arXiv 2203.11171), 0.5 to 0.7."""


class Sample:
    """Implements `call.operation.Operation`. `answered` is the reply once the call has been made."""

    __slots__ = ("_number", "_operation", "_reply", "peek")

    def __init__(self, operation: Talk, number: int) -> None:
        """`number` tells the samples of one request apart, from 1."""
        self._operation = operation
        self._number = number
        self._reply: Reply | None = None
        self.peek = msgspec.structs.replace(operation.peek, stream=False, n=1)

    def _asked(self, target: Target) -> Conversation:
        asked = self._operation.seen_by(target)
        return msgspec.structs.replace(
            asked,
            model=target.model,
            stream=False,
            include_usage=False,
            n=1,
            temperature=max(asked.temperature or 0.0, TEMPERATURE),
            seed=None if asked.seed is None else asked.seed + self._number,
            logprobs=None,
            top_logprobs=None,
            store=False,
        )

    def prepare(self, target: Target) -> Prepared:
        """Raises BadRequest where the provider's dialect cannot say what is asked."""
        conversation = self._asked(target)
        provider = PROVIDER[target.dialect]
        losses: Losses = []
        body = provider.write_request(conversation, losses, target.traits)
        if target.rewrite is not None:
            body = target.rewrite(body)
        options = reading(target, conversation)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            self._reply = reply = self._operation.restored(provider.read_reply(answer, **options), target)
            if not reply.choices:
                raise UpstreamBroken("the provider's answer has no choices")
            return b"", Receipt(reply.id, reply.model or target.model, reply.usage, reply.choices[0].finish, None)

        return Prepared(target.head(target.dialect, False), body, losses, read, no_stream, provider.read_error)

    def answered(self) -> Reply:
        """Raises InternalError where no call was made."""
        if self._reply is None:
            raise InternalError("the sample was not drawn")
        return self._reply


def reading(target: Target, conversation: Conversation) -> Mapping[str, Any]:
    """What the reader of a provider's answers must know of the request."""
    options: dict[str, Any] = {}
    namer = getattr(PROVIDER[target.dialect], "json_tool_name", None)
    if namer is not None and (tool := namer(conversation, target.traits)):
        options["json_tool"] = tool
    if target.dialect == "converse":
        options["model"] = target.model  # its answers name none
    return options
