"""The sender of a measurement: requests to one OpenAI endpoint on loopback, read as streams, bounded in all directions.

Prompts are words in a new order each time, so that no prefix cache answers; their length in tokens is what the engine
counted. The first content is the time to the first token, the distance between two contents is a pause.
"""

import asyncio
import functools
import random
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from freehold.call.transport import Flight, Origin, Pool, request_head
from freehold.errors import BadRequest, EngineError, FreeholdError, UpstreamBroken, UpstreamTimeout
from freehold.own.measure import Cell, Grid, Sample, summary

LONGEST_REQUEST = 120.0
LONGEST_LINE = 1 << 20
DONE = b"[DONE]"
SHORT, LONG = 4, 16
"""Words of the two prompts that show how many tokens a word has; a small context takes both."""
_TEXT = """
river copper window garden letter signal winter harbor button planet silver market engine forest candle number bridge
yellow doctor summer carpet island pocket ticket branch kitchen mirror needle orange valley thunder paper
"""
WORDS = _TEXT.split()


class Target(Struct, frozen=True):
    """Where requests go: `url` without /v1. `chat` where the model has no completions."""

    url: str
    key: str
    model: str
    chat: bool = False


async def run(target: Target, wanted: Grid, progress: Callable[[float], None] = lambda done: None) -> tuple[Cell, ...]:
    """Measures every cell there is time for. `progress` is called with the number of requests just ended.

    Raises BadRequest for an address that is not of this machine, EngineError when not even one token comes.
    """
    if not _loopback(target.url):
        raise BadRequest(
            f"{target.url} is not on this machine", hint="a measurement stays on loopback", code="not_local"
        )
    end = time.monotonic() + wanted.seconds
    pool = Pool(Origin.parse(target.url), connect_timeout=5.0, limit=max(wanted.concurrencies))
    try:
        target, per_word = await _calibrate(pool, target)

        async def one(length: int) -> Sample:
            sample = await ask(pool, target, prompt_of(max(1, int(length / per_word))), wanted.output)
            progress(1)
            return sample

        cells = []
        for many, length, requests in wanted.cells():
            if time.monotonic() >= end:
                break
            began = time.monotonic()
            samples = await _together(functools.partial(one, length), many, requests, end)
            cells.append(summary(samples, many, length, time.monotonic() - began))
        return tuple(cells)
    finally:
        pool.shut()


async def _together(one: Callable[[], Awaitable[Sample]], many: int, requests: int, end: float) -> list[Sample]:
    """Sends `requests`, `many` at a time; once the time is over only what has begun."""
    samples: list[Sample] = []
    numbers = iter(range(requests))

    async def sender() -> None:
        for _ in numbers:
            if time.monotonic() >= end and samples:
                return
            samples.append(await one())

    await asyncio.gather(*(sender() for _ in range(many)))
    return samples


async def _calibrate(pool: Pool, target: Target) -> tuple[Target, float]:
    """Returns how the model can be asked and its tokens per word of our prompts, and warms it.

    Raises EngineError when it answers neither as a completion nor as a chat.
    """
    sample = await ask(pool, target, prompt_of(SHORT), 1)
    if sample.error is not None and not target.chat:
        target = structs.replace(target, chat=True)
        sample = await ask(pool, target, prompt_of(SHORT), 1)
    if sample.error is not None:
        raise EngineError(f"{target.model} does not answer: {sample.error}", hint="freehold doctor")
    longer = await ask(pool, target, prompt_of(LONG), 1)
    known = sample.prompt and longer.prompt > sample.prompt
    return target, (longer.prompt - sample.prompt) / (LONG - SHORT) if known else 2.0


# one request


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(Struct):
    text: str | None = None
    delta: _Delta | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_chunk = msgspec.json.Decoder(_Chunk)


async def ask(pool: Pool, target: Target, prompt: str, output: int) -> Sample:
    """Sends one request and reads its stream. What goes wrong stands in the sample."""
    sample = Sample()
    loop = asyncio.get_running_loop()
    flight = Flight(loop.time())
    alarm = loop.call_later(LONGEST_REQUEST, flight.abort, UpstreamTimeout(f"no answer in {LONGEST_REQUEST:g} s"))
    try:
        connection = await pool.acquire(flight)
        try:
            began = loop.time()
            connection.send(flight, _request(target, pool.origin, prompt, output))
            status = await connection.head()
            if status != 200:
                body = await connection.read(1 << 16)
                sample.error = f"status {status}: {body[:200].decode(errors='replace')}"
                return sample
            last = began
            rest = b""
            while piece := await connection.chunk():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:") and (data := line[5:].strip()) != DONE:
                        last = _take(sample, data, began, last, loop.time())
                if len(rest) > LONGEST_LINE:
                    raise UpstreamBroken("a line of the stream does not end")
        finally:
            connection.close()  # a new one each time: some engines close after a stream, which would count as a failure
    except (FreeholdError, msgspec.DecodeError) as error:
        sample.error = str(error)
    finally:
        alarm.cancel()
    if sample.error is None and sample.output == 0 and sample.first is not None:
        sample.output = 1 + len(sample.pauses)
    return sample


def _take(sample: Sample, data: bytes, began: float, last: float, now: float) -> float:
    """Adds one event; returns when the last content came."""
    chunk = _chunk.decode(data)
    if chunk.error:
        sample.error = bytes(chunk.error)[:200].decode(errors="replace")
    if chunk.usage is not None:
        sample.prompt, sample.output = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    if not any(_text(choice) for choice in chunk.choices):
        return last
    if sample.first is None:
        sample.first = now - began
    else:
        sample.pauses.append(now - last)
    return now


def _text(choice: _Choice) -> str | None:
    return choice.text or (choice.delta and (choice.delta.content or choice.delta.reasoning_content)) or None


def _request(target: Target, origin: Origin, prompt: str, output: int) -> bytes:
    asked: dict[str, object] = {
        "model": target.model,
        "max_tokens": output,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    asked |= {"messages": [{"role": "user", "content": prompt}]} if target.chat else {"prompt": prompt}
    body = msgspec.json.encode(asked)
    headers = [(b"Content-Type", b"application/json")]
    if target.key:
        headers.append((b"Authorization", b"Bearer " + target.key.encode()))
    path = "/v1/chat/completions" if target.chat else "/v1/completions"
    head = request_head("POST", origin.authority, origin.prefix + path, headers)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def prompt_of(words: int) -> str:
    """Words in a new order each time: no cached prefix fits."""
    return " ".join(random.choices(WORDS, k=words))  # noqa: S311 no secret


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
