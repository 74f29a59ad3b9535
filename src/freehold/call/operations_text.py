"""Embeddings, reranking and moderation: what is asked of an upstream where no conversation is held.

Each operation reads the client's request once and, per attempt, writes it in the form of the target's dialect: one row
in a table says how a dialect is written and read, and a dialect without a row has no such operation. Same dialect on
both sides: the client's bytes pass through, and the provider's where they are what the client asked for.

A provider takes only so many inputs in one call, so embeddings may need several (`Batched`): the attempt sends them one
after another to the same deployment, and it is one attempt, because half of the vectors are no answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec

from freehold.call.guarded import Cover
from freehold.call.operation import Prepared, no_stream, refuse_losses
from freehold.call.retries import Effects
from freehold.call.target import Target
from freehold.dialects import chat, converse, embeddings, gemini, moderations, ollama, rerank
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.converse import embed as converse_embed
from freehold.dialects.embeddings import EmbeddingReply, EmbeddingRequest, Limit
from freehold.dialects.gemini import embed as gemini_embed
from freehold.dialects.moderations import ModerationRequest
from freehold.dialects.ollama import embed as ollama_embed
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.rerank import RerankDialect, RerankRequest
from freehold.errors import BadRequest, InternalError, ProviderError

ReadError = Callable[[int, Mapping[bytes, bytes], bytes], ProviderError]
Read = Callable[[bytes], tuple[bytes, Receipt]]


class EmbedForm(NamedTuple):
    """How a dialect embeds. `limit` says what one call to a model may hold; `operation` names the endpoint's path."""

    write: Callable[[str, EmbeddingRequest, Losses], bytes]
    read: Callable[[bytes], EmbeddingReply]
    limit: Callable[[str], Limit]
    read_error: ReadError = chat.read_error
    operation: Callable[[EmbeddingRequest], str] = lambda _request: "embeddings"
    read_headed: Callable[[bytes, Mapping[bytes, bytes]], EmbeddingReply] | None = None
    """Instead of `read`, where the header fields say what the body does not."""


class RerankForm(NamedTuple):
    """How a dialect reranks. `own` is the client's dialect whose bytes may pass through."""

    write: Callable[[str, RerankRequest, Losses], bytes]
    own: RerankDialect


def _limit(dialect: str) -> Callable[[str], Limit]:
    limit = embeddings.LIMITS[dialect]
    return lambda _model: limit


def _write_openai(model: str, request: EmbeddingRequest, _losses: Losses) -> bytes:
    request = msgspec.structs.replace(request, model=model)
    return embeddings.write_request(request, base64=request.encoding_format == "base64")


def _write_ollama(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    return ollama_embed.write_request(msgspec.structs.replace(request, model=model), losses)


def _gemini_path(request: EmbeddingRequest) -> str:
    return "embed_content" if request.single else "embeddings"


def _voyage_path(request: EmbeddingRequest) -> str:
    return "multimodal_embeddings" if embeddings.has_images(request) else "embeddings"


EMBED: Mapping[str, EmbedForm] = {
    "chat": EmbedForm(_write_openai, embeddings.read_reply, _limit("chat")),
    "gemini": EmbedForm(
        embeddings.write_gemini_request,
        embeddings.read_gemini_reply,
        _limit("gemini"),
        gemini.read_error,
        operation=_gemini_path,
    ),
    "cohere": EmbedForm(embeddings.write_cohere_request, embeddings.read_cohere_reply, _limit("cohere")),
    "voyage": EmbedForm(
        embeddings.write_voyage_request, embeddings.read_voyage_reply, _limit("voyage"), operation=_voyage_path
    ),
    "jina": EmbedForm(embeddings.write_jina_request, embeddings.read_jina_reply, _limit("jina")),
    "ollama": EmbedForm(_write_ollama, ollama_embed.read_reply, _limit("chat"), ollama.read_error),
    "converse": EmbedForm(
        converse_embed.write_request,
        converse_embed.read_reply,
        lambda model: Limit(converse_embed.most_inputs(model), 0),
        converse.read_error,
        read_headed=converse_embed.read_reply,
    ),
    "mistral": EmbedForm(embeddings.write_mistral_request, embeddings.read_mistral_reply, _limit("mistral")),
}
"""By the target's dialect."""

RERANK: Mapping[str, RerankForm] = {
    "chat": RerankForm(rerank.write_host_request, "jina"),
    "cohere": RerankForm(rerank.write_cohere_request, "cohere"),
    "jina": RerankForm(rerank.write_jina_request, "jina"),
    "voyage": RerankForm(rerank.write_voyage_request, "voyage"),
}

MODERATE: Mapping[str, Callable[[str, ModerationRequest, Losses], bytes]] = {
    "chat": moderations.write_request,
    "mistral": moderations.write_mistral_request,
}


class Batched(Prepared):
    """An attempt that may take several calls.

    `body` is sent first. For each body of `more`: the answer so far goes to `keep`, then that body is sent with the
    same head. The last answer goes to `read`, which returns them all as one. When a call fails, `spent` is what the
    answers before it have cost, None if nothing or unknown.
    """

    __slots__ = ("_kept", "_read_part", "more", "spent")

    def __init__(
        self,
        head: bytes,
        bodies: Sequence[bytes],
        losses: Losses,
        read_part: Callable[[bytes, int], EmbeddingReply],
        read: Callable[[list[EmbeddingReply]], tuple[bytes, Receipt]],
        read_error: ReadError,
    ) -> None:
        """`read_part` takes an answer and the number of the call it belongs to."""
        super().__init__(head, bodies[0], losses, lambda last: read(self._all(last)), no_stream, read_error)
        self.more = bodies[1:]
        self.spent: Usage | None = None
        self._read_part = read_part
        self._kept: list[EmbeddingReply] = []

    def keep(self, answer: bytes) -> None:
        """Reads an answer that is not the last. Raises ProviderError when it is no answer."""
        self._kept.append(self._read_part(answer, len(self._kept)))
        self.spent = embeddings.join_usage([reply.usage for reply in self._kept])

    def _all(self, last: bytes) -> list[EmbeddingReply]:
        if len(self._kept) != len(self.more):
            raise InternalError("an answer was read before all its parts were there")
        return [*self._kept, self._read_part(last, len(self._kept))]


class Embed:
    """Embeddings: OpenAI's form in, every provider's out. Never streamed."""

    __slots__ = ("_body", "_request", "_strict", "_write", "cover", "peek")
    effects: ClassVar[Effects] = "none"

    def __init__(
        self,
        body: bytes,
        peek: Peek,
        *,
        strict: bool = False,
        request: EmbeddingRequest | None = None,
        write: Callable[[EmbeddingReply], bytes] | None = None,
    ) -> None:
        """`request`, `write`: what `body` says and how it is answered, where the client's dialect is not OpenAI's."""
        self._write = write
        self._body = body
        self._request = request
        self._strict = strict
        self.cover: Cover | None = None
        """What those get who may not see the texts as they are. Vectors need no way back."""
        self.peek = peek

    @property
    def request(self) -> EmbeddingRequest:
        """The request, read whole; BadRequest when it cannot be."""
        if self._request is None:
            self._request = embeddings.read_request(self._body)
        return self._request

    def prepare(self, target: Target) -> Prepared:
        form = EMBED.get(target.dialect)
        if form is None:
            raise _missing(target, "embeddings")
        cover = self.cover if self.cover is not None and self.cover.hides(target.deployment) else None
        request = self.request if cover is None else cover.texts
        parts = embeddings.split_request(request, *form.limit(target.model))
        if cover is None and len(parts) == 1 and request.dialect == target.dialect:
            if target.dialect == "chat" and self._write is None:
                return self._pass_through(target, form)
            if target.dialect == gemini_embed.DIALECT:
                return self._pass_gemini(target, form)
        losses: Losses = []
        bodies = [form.write(target.model, part, losses if part is parts[0] else []) for part in parts]
        refuse_losses(losses, target, self._strict)

        fields: dict[bytes, bytes] = {}

        def hear(given: Mapping[bytes, bytes]) -> None:
            fields.clear()
            fields.update(given)

        def read_part(answer: bytes, number: int) -> EmbeddingReply:
            reply = form.read(answer) if form.read_headed is None else form.read_headed(answer, fields)
            embeddings.check_count(reply, len(parts[number].inputs))
            if reply.dtype == "float" and request.names.get("dtype", "dtype") not in losses:
                reply.dtype = request.dtype
            return reply

        def read(replies: list[EmbeddingReply]) -> tuple[bytes, Receipt]:
            reply = replies[0] if len(replies) == 1 else embeddings.join_replies(replies)
            return self._answer(reply, request, target)

        head = target.head(form.operation(request), False)
        batched = Batched(head, bodies, losses, read_part, read, form.read_error)
        if form.read_headed is not None:
            batched.heard = hear
        return batched

    def _pass_through(self, target: Target, form: EmbedForm) -> Prepared:
        request = self.request
        count = len(request.inputs)
        body = embeddings.patch_request(self._body, model=target.model)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            receipt = embeddings.pass_reply(answer, request.encoding_format, count)
            if receipt is not None:
                return answer, receipt
            reply = form.read(answer)
            embeddings.check_count(reply, count)
            return self._answer(reply, request, target)

        return Prepared(target.head("embeddings", False), body, [], read, no_stream, form.read_error)

    def _pass_gemini(self, target: Target, form: EmbedForm) -> Prepared:
        request = self.request
        body = gemini_embed.patch_request(self._body, model=target.model)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = form.read(answer)
            embeddings.check_count(reply, len(request.inputs))
            return answer, Receipt(reply.id, target.model, reply.usage, "stop", None)

        return Prepared(target.head(form.operation(request), False), body, [], read, no_stream, form.read_error)

    def _answer(self, reply: EmbeddingReply, request: EmbeddingRequest, target: Target) -> tuple[bytes, Receipt]:
        reply.model = reply.model or target.model
        write = self._write
        written = write(reply) if write else embeddings.write_reply(reply, request.encoding_format)
        return written, Receipt(reply.id, reply.model, reply.usage, "stop", None)


class Rerank:
    """Reranking: Cohere's, Jina's, Voyage's and TEI's form in, each of the first three and their copies out."""

    __slots__ = ("_body", "_dialect", "_request", "_strict", "peek")
    effects: ClassVar[Effects] = "none"

    def __init__(self, body: bytes, peek: Peek, dialect: RerankDialect | None = None, *, strict: bool = False) -> None:
        """`dialect` is "cohere" for `/v2/rerank` and None elsewhere: the body tells."""
        self._body = body
        self._dialect = dialect
        self._request: RerankRequest | None = None
        self._strict = strict
        self.peek = peek

    @property
    def request(self) -> RerankRequest:
        """The request, read whole; BadRequest when it cannot be."""
        if self._request is None:
            self._request = rerank.read_request(self._body, self._dialect)
        return self._request

    def prepare(self, target: Target) -> Prepared:
        form = RERANK.get(target.dialect)
        if form is None:
            raise _missing(target, "rerank")
        request = self.request
        losses: Losses = []
        passes = request.dialect == form.own and (target.dialect != "chat" or _is_plain(request))
        if passes:
            body = rerank.patch_request(self._body, model=target.model)
        else:
            body = form.write(target.model, request, losses)
            refuse_losses(losses, target, self._strict)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = rerank.read_reply(answer, request)
            reply.model = reply.model or target.model
            receipt = Receipt(reply.id, reply.model, reply.usage, "stop", None)
            return answer if passes and reply.as_sent else rerank.write_reply(reply, request), receipt

        return Prepared(target.head("rerank", False), body, losses, read, no_stream, rerank.read_error)


def _is_plain(request: RerankRequest) -> bool:
    """Whether all is text already, which is what a copy of Jina's API reads for certain."""
    return isinstance(request.query, str) and all(isinstance(document, str) for document in request.documents)


class Moderate:
    """Moderation: OpenAI's form in (and Mistral's messages), OpenAI's or Mistral's out."""

    __slots__ = ("_body", "_request", "_strict", "peek")
    effects: ClassVar[Effects] = "none"

    def __init__(self, body: bytes, peek: Peek, *, strict: bool = False) -> None:
        self._body = body
        self._request: ModerationRequest | None = None
        self._strict = strict
        self.peek = peek

    @property
    def request(self) -> ModerationRequest:
        """The request, read whole; BadRequest when it cannot be."""
        if self._request is None:
            self._request = moderations.read_request(self._body)
        return self._request

    def prepare(self, target: Target) -> Prepared:
        write = MODERATE.get(target.dialect)
        if write is None:
            raise _missing(target, "moderations")
        request = self.request
        losses: Losses = []
        talk = request.chats is not None
        passes = talk == (target.dialect == "mistral")
        body = (
            moderations.patch_request(self._body, model=target.model)
            if passes
            else write(target.model, request, losses)
        )
        refuse_losses(losses, target, self._strict)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = moderations.read_reply(answer, request.count)
            reply.model = reply.model or target.model
            receipt = Receipt(reply.id, reply.model, reply.usage, "stop", None)
            return answer if talk or (passes and reply.as_sent) else moderations.write_reply(reply), receipt

        operation = "chat_moderations" if talk else "moderations"
        return Prepared(target.head(operation, False), body, losses, read, no_stream, moderations.read_error)


def _missing(target: Target, operation: str) -> BadRequest:
    return BadRequest(f"{target.name} has no {operation}", hint="ask a model that can: GET /v1/models", param="model")
