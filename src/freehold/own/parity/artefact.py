"""Asks a GGUF file, run by the embedded engine in a child process as the steward starts it.

llama.cpp tells probabilities for tokens that it generates, not for those it reads. So each position is one request for
one token after the tokens before it; the server keeps what it has read, and each request costs one step. It tells none
for a token that is half a character, or that ends the answer: so the token is forced to be a letter. The bias changes
what is chosen, not the probabilities that are told.
"""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec, Missing, Probe
from freehold.own.engines.llamacpp import LlamaCpp
from freehold.own.gguf import ModelFile, read_header
from freehold.own.life import BoundedLog, Life, launch
from freehold.own.memory import available, refuse_too_large
from freehold.own.parity.answers import Answers, Conversation, Ends, Passage, Position, Questions, Rendered

CONTEXT = 512
SPARE = 8
"""Tokens of the context that are not used: the engine wants room for what it says."""
STEP_TIME = 120.0
LAST_BREATH = 1.0
FORCE = 1e9
"""A logit bias that makes one token certain."""
MOST_ENDS = 64
_END_KEYS = ("eos", "eot", "eom")


async def ask(path: Path, questions: Questions, original: Answers | None = None) -> Answers:
    """Returns what the file answers.

    With `original` it goes along the original's tokens, so that both are asked for the same positions; without, along
    its own. Raises Unusable when the engine does not load the file or crashes over it, other EngineErrors when the
    engine is missing or memory is too small.
    """
    model = read_header(path)
    async with _running(path, model) as life:
        engine = _Engine(life)
        await engine.prepare()
        ends = await _ends(engine, model, original)
        passages = []
        for place, text in enumerate(questions.texts):
            theirs = original.passages[place] if original is not None else None
            passages.append(await _passage(engine, text, theirs, questions))
        chats = [await _rendered(engine, one) for one in questions.conversations] if model.template else []
        return Answers(_who(model), passages, chats, ends, model.template)


def longest(model: ModelFile) -> int:
    """Returns how many tokens the questions may have for this model."""
    return min(CONTEXT, model.context or CONTEXT) - SPARE


@contextlib.asynccontextmanager
async def _running(path: Path, model: ModelFile) -> AsyncIterator[Life]:
    adapter = LlamaCpp(drain=0.0)
    if isinstance(found := adapter.probe(), Missing):
        raise EngineError(found.reason, hint=found.hint, retry="no")
    context = longest(model) + SPARE
    spec = EngineSpec("parity", path, context, parallel=1)
    plan = adapter.plan(spec, model, secrets.token_urlsafe(24))
    refuse_too_large(model, need=plan.memory, free=available(), context=context, parallel=1)
    with tempfile.TemporaryDirectory(prefix="freehold-parity-") as folder:
        life = await launch(plan, BoundedLog(Path(folder) / "log"))
        try:
            await _loaded(life)
            yield life
        except EngineError as error:
            if isinstance(error, Unusable) or not await _dead(life):
                raise
            raise Unusable(f"it crashed: {error.message}", code="engine_refused", retry="no") from error
        finally:
            await life.end()


async def _loaded(life: Life) -> None:
    try:
        await life.answering()
    except EngineError as error:
        if error.retry == "same":
            raise
        raise Unusable(error.message, code="engine_refused", retry="no") from error


async def _dead(life: Life) -> bool:
    try:
        await asyncio.wait_for(life.exited(), LAST_BREATH)
    except TimeoutError:
        return False
    return True


class Unusable(EngineError):
    """The engine does not load the file, or crashes over it."""


class _Engine:
    """The routes of llama-server that are needed here."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._letter = 0

    async def prepare(self) -> None:
        """Finds a token that is a whole character."""
        self._letter = (await self.tokens("a", whole=False))[-1]

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._life.ask(Probe(path, msgspec.json.encode(body), timeout=STEP_TIME))
        decoded: dict[str, Any] = msgspec.json.decode(answer)
        return decoded

    async def tokens(self, text: str, *, whole: bool) -> list[int]:
        """Returns ids; `whole` puts the tokenizer's own beginning before them."""
        answer = await self.post("/tokenize", {"content": text, "add_special": whole, "parse_special": True})
        ids: list[int] = answer["tokens"]
        return ids

    async def complete(self, ids: list[int], count: int, **more: Any) -> dict[str, Any]:
        return await self.post(
            "/completion",
            {"prompt": ids, "n_predict": count, "temperature": 0, "return_tokens": True, "cache_prompt": True, **more},
        )

    async def position(self, ids: list[int], top: int) -> Position:
        answer = await self.complete(ids, 1, n_probs=top, logit_bias=[[self._letter, FORCE]])
        best = answer["completion_probabilities"][0]["top_logprobs"]
        return Position(len(ids), [one["id"] for one in best], [one["logprob"] for one in best])


async def _passage(engine: _Engine, text: str, original: Passage | None, asked: Questions) -> Passage:
    own = await engine.tokens(text, whole=True)
    spaced = await engine.tokens(f" {text}", whole=True)
    given = asked.begin(own if original is None else original.ids)
    answer = await engine.complete(given, asked.continuation, cache_prompt=False)
    ended = answer["stop_type"] == "eos"
    said: list[int] = answer["tokens"][:-1] if ended else answer["tokens"]
    whole = given + (said if original is None else original.continuation)
    first = max(1, len(given) - asked.window)
    positions = [await engine.position(whole[:at], asked.top) for at in range(first, len(whole) + 1)]
    return Passage(text, own, said, ended, positions, spaced)


async def _rendered(engine: _Engine, one: Conversation) -> Rendered:
    body: dict[str, Any] = {"messages": one.messages} | ({"tools": one.tools} if one.tools else {})
    try:
        text = (await engine.post("/apply-template", body))["prompt"]
    except EngineError as error:
        return Rendered(one.name, error=error.message)
    return Rendered(one.name, text, ids=await engine.tokens(text, whole=True))


async def _ends(engine: _Engine, model: ModelFile, original: Answers | None) -> Ends:
    """Finds out which tokens end an answer by making each the only possible one: the engine stops, or goes on."""
    named = [model.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in _END_KEYS]
    declared = named[0] if isinstance(named[0], int) else None
    tried: list[int] = [one for one in named if isinstance(one, int)]
    special: list[int] = []
    if original is not None:
        special = original.ends.special
        tried += original.ends.ids + special[:MOST_ENDS]
    return Ends([one for one in dict.fromkeys(tried) if await _ends_with(engine, one)], special, declared)


async def _ends_with(engine: _Engine, token: int) -> bool:
    answer = await engine.complete([token], 1, logit_bias=[[token, FORCE]])
    return bool(answer["stop_type"] == "eos")


def _who(model: ModelFile) -> str:
    import importlib.metadata

    return f"llama.cpp (xllamacpp {importlib.metadata.version('xllamacpp')}), {model.quantisation}"
