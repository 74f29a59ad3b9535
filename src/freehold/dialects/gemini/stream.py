"""Gemini's stream (`streamGenerateContent?alt=sse`), read as canonical events.

Each event is a `GenerateContentResponse` with the next pieces of each candidate; a function call comes whole. The last
event has the finish reason; events without candidates carry usage only. Usage is repeated in every event, cumulative.
Sources come late, with offsets in all the text so far; each becomes a citation of its own, once.
"""

from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Document,
    Event,
    Finished,
    Image,
    LogprobsDelta,
    MediaDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Part,
    RefusalDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.gemini.errors import failed
from freehold.dialects.gemini.grounding import read_citations, rest
from freehold.dialects.gemini.logprobs import read_logprobs
from freehold.dialects.gemini.reply import (
    REPLY,
    WireCandidate,
    WirePart,
    WireReply,
    block_message,
    name_call,
    read_part,
)
from freehold.dialects.gemini.usage import read_finish, read_usage
from freehold.dialects.sse_reader import SseReader
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact


class StreamReader(SseReader):
    """Bytes of an SSE stream in, canonical events out, whatever the chunk boundaries."""

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._id = ""
        self._usage: Usage | None = None
        self._calls: dict[int, int] = {}
        """Function calls seen, by candidate; its keys are the candidates seen."""
        self._finished: set[int] = set()
        self._texts: dict[int, list[str]] = {}
        """The text so far, by candidate, for the offsets of citations."""
        self._cited: set[tuple[object, ...]] = set()

    @property
    def complete(self) -> bool:
        """Whether every candidate seen has its finish reason."""
        return bool(self._finished) and self._finished.issuperset(self._calls)

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._failed:
            return
        try:
            wire = REPLY.decode(data)
            self._read_reply(wire, events)
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None

    def _read_reply(self, wire: WireReply, events: list[Event]) -> None:
        if wire.error is not None:
            self._failed = True
            events.append(failed(wire.error))
            return
        if not self._started:
            self._started = True
            self._id = wire.response_id
            events.append(Started(wire.response_id, wire.model_version))
        ends: list[Event] = []
        for candidate in wire.candidates:
            self._read_candidate(candidate, events, ends)
        if not wire.candidates and wire.prompt_feedback is not None and wire.prompt_feedback.block_reason is not None:
            events.append(RefusalDelta(block_message(wire.prompt_feedback)))
            ends.append(Finished("content_filter"))
            self._finished.add(0)
        if wire.usage_metadata is not None:
            usage = read_usage(wire.usage_metadata)
            if usage != self._usage:
                self._usage = usage
                events.append(Metered(usage))
        events += ends

    def _read_candidate(self, candidate: WireCandidate, events: list[Event], ends: list[Event]) -> None:
        choice = candidate.index
        calls = self._calls.setdefault(choice, 0)
        for raw in candidate.content.parts if candidate.content is not None else ():
            found = read_part(raw)
            if isinstance(found, WirePart):
                call = name_call(found, self._id, choice, calls)
                events.append(ToolStarted(calls, call.id, call.name, choice, call.signature))
                events.append(ToolDelta(calls, call.arguments, choice))
                calls += 1
                self._calls[choice] = calls
                continue
            for part in found:
                if type(part) is Text:
                    self._texts.setdefault(choice, []).append(part.text)
                    events.append(TextDelta(part.text, choice, part.signature))
                else:
                    events.append(_delta(part, choice))
        if candidate.grounding_metadata or candidate.citation_metadata or candidate.url_context_metadata:
            self._read_sources(candidate, events)
        if (logprobs := read_logprobs(candidate.logprobs_result)) is not None:
            events.append(LogprobsDelta(logprobs, choice))
        if candidate.finish_reason is not None and choice not in self._finished:
            self._finished.add(choice)
            ends.append(Finished(read_finish(candidate.finish_reason, calls > 0), choice))

    def _read_sources(self, candidate: WireCandidate, events: list[Event]) -> None:
        choice = candidate.index
        texts = self._texts.get(choice, [])
        for citation in read_citations(candidate.grounding_metadata, candidate.citation_metadata, texts):
            key = (choice, citation.url, citation.title, citation.file_id, citation.quote, citation.start, citation.end)
            if key not in self._cited:
                self._cited.add(key)
                events.append(TextDelta("", choice, citation=citation))
        more = rest(candidate.grounding_metadata, candidate.url_context_metadata)
        events += [OpaqueDelta(extra.dialect, extra.value, choice) for extra in more]


def _delta(part: Part, choice: int) -> Event:
    """The event of a part that is neither text nor a call. Speech in Google's own format joins piece by piece."""
    match part:
        case Thinking():
            return ThinkingDelta(part.text, part.signature, choice=choice)
        case Audio(data=str(data), format="pcm16"):
            return AudioDelta(data, choice=choice)
        case Image() | Audio() | Document():
            return MediaDelta(part, choice)
        case Opaque():
            return OpaqueDelta(part.dialect, part.value, choice)
    raise AssertionError(part)
