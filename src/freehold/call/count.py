"""The tokens of a conversation, counted by who will be asked it, where he can."""

from collections.abc import Mapping
from types import ModuleType
from typing import ClassVar

import msgspec

from freehold.call.guarded import Cover
from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.operation import Prepared, no_stream
from freehold.call.retries import Effects
from freehold.call.target import Target
from freehold.dialects import gemini, messages
from freehold.dialects.conversation import Conversation, Usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt


class Count:
    """The tokens of a conversation, where the upstream can count them; the pipeline estimates elsewhere."""

    __slots__ = ("_body", "_client", "_conversation", "cover", "peek")
    effects: ClassVar[Effects] = "none"

    def __init__(self, client: str, body: bytes, peek: Peek) -> None:
        self._client = client
        self._body = body
        self._conversation: Conversation | None = None
        self.cover: Cover | None = None
        self.peek = peek

    @property
    def conversation(self) -> Conversation:
        """What is to be counted, as the client sent it; BadRequest when it cannot be read."""
        if self._conversation is None:
            if self._client == "gemini":
                self._conversation = gemini.read_count_request(self._body, model=self.peek.model)
            else:
                self._conversation = CLIENT[self._client].read_request(self._body)
        return self._conversation

    def prepare(self, target: Target) -> Prepared:
        counter = COUNTERS[target.dialect]
        covered = self.cover is not None and self.cover.hides(target.deployment)
        if self._client == target.dialect and not covered:
            body = CLIENT[self._client].patch_request(self._body, model=target.model)
        else:
            seen = self.cover.conversation if self.cover is not None and covered else self.conversation
            conversation = msgspec.structs.replace(seen, model=target.model)
            if target.dialect == "messages":
                body = _to_count(messages.write_request(conversation, [], target.traits))
            else:
                body = counter.write_count(conversation, [], target.traits)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            return self.answer(counter.read_count(answer)), Receipt("", target.model, Usage(), "stop", None)

        if target.rewrite is not None:
            body = target.rewrite(body, count=True)
        head = target.head(target.counter or "count", False)
        return Prepared(head, body, [], read, no_stream, PROVIDER[target.dialect].read_error)

    def answer(self, tokens: int) -> bytes:
        """The count in the client's dialect."""
        if self._client == "gemini":
            return gemini.write_count_reply(tokens)
        if self._client == "responses":
            return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})
        return messages.write_count(tokens)

    def estimate(self) -> bytes:
        """What the client gets where nobody counts: about four bytes a token."""
        if self._client == "messages":
            return self.answer(messages.estimate_tokens(self._body))
        return self.answer(self.peek.input_bytes // 4 + 1)


def _to_count(body: bytes) -> bytes:
    """A messages request as `count_tokens` takes it: without what only an answer needs."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: fields[name] for name in _COUNTED if name in fields})


_COUNTED = ("model", "system", "messages", "tools", "tool_choice", "thinking")
COUNTERS: Mapping[str, ModuleType] = {"messages": messages, "gemini": gemini}
"""Provider dialects that count."""
