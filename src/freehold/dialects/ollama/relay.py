"""Passes an Ollama stream on to an Ollama client, byte for byte, and meters it on the way; chat and generate alike.

Only an incomplete line is held back, so that what the client has seen always ends at a line's end and an error line may
follow. Each line gets one partial decode, about a microsecond.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.ollama.errors import failed
from freehold.dialects.ollama.lines import LineSplitter
from freehold.dialects.ollama.usage import read_finish, read_usage
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken


class _Message(Struct):
    content: Any = None
    thinking: Any = None
    tool_calls: Any = None


class _Line(Struct):
    message: _Message | None = None
    response: Any = None
    thinking: Any = None
    done: Any = False
    model: Any = None
    done_reason: Any = None
    prompt_eval_count: Any = None
    prompt_eval_cached_count: Any = None
    eval_count: Any = None
    error: Any = None


_LINE = msgspec.json.Decoder(_Line)


class StreamRelay:
    """`feed` returns what may go out now, `close` what was held back at the end; the attributes say what was seen.

    `started`: content was seen, so another provider may no longer take over. `output_bytes`: UTF-8 bytes of text,
    thoughts and calls so far, for an estimate where the stream breaks before its counts. `complete`: the line with
    `done: true` came. `strip_usage` has no meaning here: counts are part of this dialect. `id` stays empty.
    """

    __slots__ = (
        "_called",
        "_splitter",
        "complete",
        "events",
        "failed",
        "finish",
        "id",
        "model",
        "output_bytes",
        "started",
        "usage",
    )

    def __init__(self, strip_usage: bool = False) -> None:
        self._splitter = LineSplitter()
        self._called = False
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.finish: Finish | None = None
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0
        self.events = 0

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for a line that is not JSON or larger than 16 MiB."""
        lines = self._splitter.feed(chunk)
        for line in lines:
            self._see(line)
        return lines[0] if len(lines) == 1 else b"".join(lines)

    def close(self) -> bytes:
        """A last line that only lacks its end gets it; one cut in half is kept from the client."""
        rest = self._splitter.close()
        if not rest.strip():
            return b""
        try:
            self._see(rest)
        except UpstreamBroken:
            return b""
        return rest.rstrip(b"\r") + b"\n"

    def _see(self, raw: bytes) -> None:
        try:
            line = _LINE.decode(raw)
        except MALFORMED:
            if not raw.strip():
                return
            if not _is_json(raw):
                raise UpstreamBroken("A line of the provider's stream is not JSON.") from None
            self.events += 1
            return  # of a shape we do not know: it passes unmetered
        self.events += 1
        message = line.message
        if message is not None:
            text, thinking = message.content, message.thinking
            if message.tool_calls:
                self._called = self.started = True
                self.output_bytes += len(msgspec.json.encode(message.tool_calls))
        else:
            text, thinking = line.response, line.thinking
        if isinstance(text, str) and text:
            self.started = True
            self.output_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if isinstance(thinking, str) and thinking:
            self.started = True
            self.output_bytes += len(thinking) if thinking.isascii() else len(thinking.encode("utf-8", "surrogatepass"))
        if not self.model and isinstance(line.model, str):
            self.model = line.model
        if line.error is not None:
            self.failed = failed(line.error)
        elif line.done is True:
            self.complete = True
            self.finish = read_finish(line.done_reason, self._called)
            usage = read_usage(line.prompt_eval_count, line.prompt_eval_cached_count, line.eval_count)
            self.usage = usage if usage is not None else self.usage


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except MALFORMED:
        return False
    return True
