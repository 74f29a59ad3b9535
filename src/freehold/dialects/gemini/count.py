"""`countTokens`: asked of a provider, and answered for a client.

https://ai.google.dev/api/tokens: the body has either `contents` alone or a whole `generateContentRequest`. Vertex AI
takes the fields of a request at the top: `contents`, `systemInstruction`, `tools`, `generationConfig`.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Conversation, Losses
from freehold.dialects.gemini.request import read_fields
from freehold.dialects.gemini.write import encode, write_fields
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, check_dict, decode_request
from freehold.errors import UpstreamBroken

_BODY = msgspec.json.Decoder(dict[str, Any])


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int = 0


_COUNT = msgspec.json.Decoder(_Count)


def write_count(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The body for `:countTokens`, with all that is prompt: system, turns and tools."""
    body = write_fields(conversation, losses, traits)
    model = conversation.model
    return encode({"generateContentRequest": {"model": f"models/{model.removeprefix('models/')}", **body}})


def read_count(body: bytes) -> int:
    """Raises UpstreamBroken when `body` is no count."""
    try:
        tokens = _COUNT.decode(body).total_tokens
    except MALFORMED:
        raise UpstreamBroken("The provider's token count could not be read.") from None
    if tokens < 0:
        raise UpstreamBroken("The provider counted fewer than no tokens.")
    return tokens


def read_count_request(body: bytes, *, model: str = "") -> Conversation:
    """What a client wants counted. Raises BadRequest."""
    fields = decode_request(_BODY, body)
    for name in ("generateContentRequest", "generate_content_request"):
        if fields.get(name) is not None:
            return read_fields(check_dict(fields[name], name), model)
    return read_fields(fields, model)


def write_count_reply(tokens: int, cached: int = 0) -> bytes:
    """The answer for a Gemini client."""
    body = {"totalTokens": tokens}
    if cached:
        body["cachedContentTokenCount"] = cached
    return msgspec.json.encode(body)
