"""Passes a Gemini stream on to a Gemini client, byte for byte, and meters it on the way.

Only an incomplete event is held back, so that what the client has seen always ends at an event's end and an error
event may follow. Every event is decoded, as each may carry usage, a finish reason or an error; of its parts only the
texts are looked at. A client that did not ask for `alt=sse` gets the same objects as a JSON array (`array`): the
provider is asked for events all the same.
"""

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.gemini.errors import WireError, failed, write_error
from freehold.dialects.gemini.usage import WireUsage, read_finish, read_usage
from freehold.dialects.sse import SseSplitter, parse_event
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, UpstreamBroken, redact


class _Part(Struct, rename="camel"):
    text: str | None = None
    function_call: Raw = Raw(b"")


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Event(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: WireUsage | None = None
    model_version: str | None = None
    response_id: str | None = None
    prompt_feedback: _Feedback | None = None
    error: WireError | None = None


_EVENT = msgspec.json.Decoder(_Event)


class StreamRelay:
    """`feed` returns what may go out now, `close` what was held back at the end.

    `started`: content was seen, so another provider may no longer take over. `output_bytes`: about the size of the
    text, thoughts and arguments seen, for an estimate where the stream breaks before its usage. `complete`: every
    candidate has its finish reason. `strip_usage` has no meaning here: usage is part of this dialect.
    """

    told = True
    """The client has seen the provider's own error by the time `failed` is set."""

    def __init__(self, strip_usage: bool = False, *, array: bool = False) -> None:
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.finish: Finish | None = None
        self.failed: Failed | None = None
        self.started = False
        self.output_bytes = 0
        self.events = 0
        self._array = array
        self._lead = b"["
        self._calls: dict[int, bool] = {}
        """Whether a function was called, by candidate; its keys are the candidates seen."""
        self._finished: set[int] = set()
        self._splitter = SseSplitter()

    @property
    def complete(self) -> bool:
        return bool(self._finished) and self._finished.issuperset(self._calls)

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event that is not JSON or larger than 16 MiB."""
        events = self._splitter.feed(chunk)
        if len(events) == 1:
            return self._pass(events[0])
        return b"".join([self._pass(raw) for raw in events])

    def close(self) -> bytes:
        """A last event that only lacks its blank line gets it; one cut in half is kept from the client."""
        raw = self._splitter.close()
        event = parse_event(raw)
        rest = b""
        try:
            _EVENT.decode(event[1] if event is not None else b"")
        except MALFORMED:
            pass
        else:
            rest = self._pass(raw.rstrip(b"\r\n") + b"\r\n\r\n")
        if self._array and self.complete and self.failed is None:
            rest += b"]"
        return rest

    def fail(self, failure: FreeholdError, request_id: str) -> bytes:
        """The end of a broken stream, in the form that was begun."""
        error = write_error(failure, request_id)
        return self._lead + error + b"]" if self._array else b"data: " + error + b"\r\n\r\n"

    def _pass(self, raw: bytes) -> bytes:
        if raw.startswith(b"data: {") and raw.endswith(b"}\r\n\r\n") and raw.count(b"\n") == 2:
            data = raw[6:-4]
        else:
            event = parse_event(raw)
            if event is None:
                return b"" if self._array else raw
            data = event[1]
        self.events += 1
        self._see(data)
        if not self._array:
            return raw
        lead, self._lead = self._lead, b","
        return lead + data + (b"]" if self.failed is not None else b"\r\n")

    def _see(self, data: bytes) -> None:
        try:
            event = _EVENT.decode(data)
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None
        if event.error is not None:
            self.failed = failed(event.error)
            return
        if not self.id:
            self.id = event.response_id or ""
            self.model = event.model_version or ""
        if event.usage_metadata is not None:
            self.usage = read_usage(event.usage_metadata)
        if event.candidates:
            for candidate in event.candidates:
                self._candidate(candidate)
        elif event.prompt_feedback is not None and event.prompt_feedback.block_reason is not None:
            self._finished.add(0)
            self.finish = "content_filter"

    def _candidate(self, candidate: _Candidate) -> None:
        called = self._calls.setdefault(candidate.index, False)
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            if part.text is not None:
                self.started |= part.text != ""
                self.output_bytes += len(part.text)
                continue
            self.started = True
            if len(part.function_call) > 4:  # more than null
                self._calls[candidate.index] = called = True
                self.output_bytes += len(part.function_call)
        if candidate.finish_reason is not None:
            self._finished.add(candidate.index)
            if self.finish is None or candidate.index == 0:
                self.finish = read_finish(candidate.finish_reason, called)
