"""The judge of wedged engines: by tokens, never by /health.

An engine can hang for hours while its health page says 200 (vLLM issues 36960 and 39863: page fault on the GPU, dead
core, requests hanging), so the only proof of health is work that comes out. All bytes pass through the gateway, which
therefore knows when an engine that owes answers has gone silent. Silence alone proves nothing, since an honest engine
may be reading a long prompt or writing an answer that is sent whole. So a verdict takes three steps:

    FINE ── nothing came for T while requests ran ──> SUSPECT ── probe of one token ──> answered: FINE
                                                         └── no token, and no honest reason left ──> WEDGED

T       what is configured (`engines.stall`), but never under 5 times the 99th percentile of this engine's own pauses.
silence is counted only while requests are in flight, and adds up over clients that give up and come again: hanging up
        is no sign of life. Signs of life are a byte, a token for the probe, and the engine's own progress counter.
honest  reasons are known from the work itself: the longest prompt that waits for its first byte, at the speed this
        engine reads; and the most tokens that may come without a byte, at the speed it writes. Where a counter of the
        engine shows such work, its standstill leaves no excuse, nor does its silence, but for a batch of a prompt. A
        probe may queue behind full slots: its failure counts only when the honest reasons are used up.

The probe ends at 1.6 T after the last sign of life, so a wedge is told within 2 T where no honest reason lasts longer.

Nothing here reads a clock or does anything. The steward calls `look` for every engine several times per T, sends the
probe that a verdict asks for, reports how it went, and ejects an engine that is wedged. Times are seconds of one
monotonic clock.
"""

from collections import deque
from typing import Literal

from msgspec import Struct

QUANTILE = 0.99
MARGIN = 5.0
"""T is never below this many times the quantile of the engine's pauses."""
PROBE_ENDS = 1.6
"""In multiples of T since the last sign of life."""
SHORTEST_PROBE = 0.25
"""In multiples of T; also the pause between the probes of one suspicion."""
STILL = 0.5
"""In multiples of T: a counter that was read again and again for so long and did not move leaves no excuse."""
CAREFUL = 3.0
"""How many times longer than measured an honest reason may take: other requests share the engine."""
UNMEASURED_READ = 20.0
UNMEASURED_WRITE = 2.0
"""Tokens a second of the slowest engine worth waiting for, before its own speed is known."""
LONGEST = 900.0
"""No honest reason holds longer than this."""
SHORT_PROMPT = 64
"""A prompt of fewer tokens says nothing of reading speed."""
BATCH = 4096
"""Tokens of a prompt that an engine reads in one batch, at most: llama.cpp answers nothing meanwhile, not even for its
counter."""
SAMPLES = 512
ENOUGH = 100
"""Pauses to be known before their quantile says anything."""
SPEEDS = 64


Counts = Literal["ends", "tokens", "steps"]


class Seen(Struct, frozen=True):
    """One look at an engine, over all workers.

    Bytes are those of answers: comments that only keep a stream open do not count, for they come from a web server
    that may outlive the engine behind it.
    """

    at: float
    inflight: int
    received: int = 0
    """Bytes of answers received from it so far; only grows."""
    last_byte: float | None = None
    last_start: float | None = None
    """When the youngest request was sent."""
    streaming: int = 0
    """Of those in flight, the ones that have had a byte."""
    prompt_tokens: int = 0
    """Of the longest prompt in flight that has had no byte, estimated."""
    unseen_tokens: int = 0
    """The most that one request in flight may generate without a byte: `max_tokens` of an answer that is sent whole,
    or the context that its prompt leaves; 0 where all are streamed."""
    progress: int | None = None
    """The engine's own count of work done (tokens, decoded batches), read just now; None where it cannot be read."""


class Verdict(Struct, frozen=True):
    """`since` is the time of the last sign of life. `probe`: send a one-token probe now, with this timeout."""

    state: Literal["fine", "suspect", "wedged"]
    since: float = 0.0
    probe: float | None = None
    why: str = ""


FINE = Verdict("fine")


class Judge:
    """Judges one engine. It outlives the engine's processes: `began` starts a new life and keeps what was learned.

    `stall` is `engines.stall` in seconds. `counts` says what its progress counter shows: "ends" of requests only, each
    token written ("tokens"), or each batch computed, those of prompts too ("steps").
    """

    def __init__(self, stall: float, *, counts: Counts = "ends") -> None:
        self._stall = stall
        self._counts = counts
        self.patience = stall
        """T in seconds."""
        self._pauses: deque[float] = deque(maxlen=SAMPLES)
        self._reading: deque[float] = deque(maxlen=SPEEDS)
        self._writing: deque[float] = deque(maxlen=SPEEDS)
        self._readable = False
        """Its counter was read at least once."""
        self._seen: Seen | None = None
        self.began(0.0)

    def began(self, at: float) -> None:
        """A new process runs."""
        self._seen = None
        self._silent = 0.0
        self._alive = at
        self._probe: float | None = None
        self._next_probe = 0.0
        self._failed = False
        self._progress: int | None = None
        self._still = self._read = 0.0
        """When the counter had its present value first, of an unbroken row of readings, and last."""

    def look(self, seen: Seen) -> Verdict:
        """Returns the verdict on what is seen now. Call it several times per T for every engine that is ready."""
        before, self._seen = self._seen, seen
        streaming = before is not None and before.streaming > 0
        self._silent += _owed(before, seen)
        sign = self._sign(before, seen)
        if sign is not None:
            if streaming and before is not None and seen.received > before.received:
                self._learn_pause(max(0.0, sign - self._alive))
            self._live(sign)
            self._silent = max(0.0, seen.at - max(sign, _since_busy(before, seen))) if seen.inflight else 0.0
        return self._verdict(seen)

    def probed(self, at: float, *, token: bool) -> Verdict:
        """How the probe ended: with a token, or without one (timeout, refusal, an answer with nothing in it)."""
        sent, self._probe = self._probe, None
        if sent is None:
            return self._verdict(self._seen) if self._seen is not None else FINE
        self._next_probe = at + SHORTEST_PROBE * self.patience
        if token:
            self._live(at)
            self._silent = 0.0
            return FINE
        self._failed = True
        seen = self._seen
        return FINE if seen is None else self._verdict(seen, later=max(0.0, at - seen.at))

    def answered(self, prompt_tokens: int, first: float, output_tokens: int, total: float) -> None:
        """Learns from one request that did not wait for a slot: seconds to its first byte, and to its end.

        An answer sent whole has `first` equal to `total` and teaches writing alone.
        """
        if first < total and prompt_tokens >= SHORT_PROMPT and first > 0:
            self._reading.append(prompt_tokens / first)
        writing = total - first if first < total else total
        if output_tokens > 1 and writing > 0:
            self._writing.append(output_tokens / writing)

    def _honest(self, seen: Seen) -> float:
        """The seconds of silence that may still be honest: work that is known of, half as much again but at most T
        more, and never less than T."""
        work = self.excuse(seen)
        return max(self.patience, work + min(self.patience, work / 2))

    def excuse(self, seen: Seen) -> float:
        """Returns the seconds of silence for which an honest reason is known."""
        enough = STILL * self.patience
        still = self._progress is not None and self._read - self._still >= enough and seen.at - self._read <= enough
        steps = self._counts == "steps"
        reading = writing = 0.0
        if seen.prompt_tokens and not (still and steps):
            tokens = min(seen.prompt_tokens, BATCH) if steps and self._readable else seen.prompt_tokens
            reading = _duration(tokens, self._reading, UNMEASURED_READ)
            if self._writing and not self._reading:
                # Each token written takes a pass of its own; those of a prompt share them, so none takes longer.
                reading = min(reading, _duration(tokens, self._writing, UNMEASURED_READ))
        if seen.unseen_tokens and not (self._readable and self._counts != "ends"):
            writing = _duration(seen.unseen_tokens, self._writing, UNMEASURED_WRITE)
        return min(LONGEST, reading + writing)

    def _sign(self, before: Seen | None, seen: Seen) -> float | None:
        """Returns the time of a sign of life since the look before, None where there is none."""
        sign = None
        if seen.progress is not None:
            if self._progress is not None and seen.progress != self._progress:
                sign = seen.at
            if seen.progress != self._progress or seen.at - self._read > STILL * self.patience:
                self._still = seen.at
            self._progress, self._read, self._readable = seen.progress, seen.at, True
        received = before.received if before is not None else 0
        if seen.received != received:
            byte = seen.at if seen.last_byte is None else min(seen.at, seen.last_byte)
            sign = byte if sign is None else max(sign, byte)
        return sign

    def _learn_pause(self, seconds: float) -> None:
        self._pauses.append(seconds)
        if len(self._pauses) < ENOUGH or (seconds * MARGIN <= self._stall and self.patience == self._stall):
            return
        ordered = sorted(self._pauses)
        self.patience = max(self._stall, MARGIN * ordered[int(QUANTILE * (len(ordered) - 1))])

    def _live(self, at: float) -> None:
        self._alive = max(self._alive, at)
        self._failed = False
        self._probe = None

    def _verdict(self, seen: Seen, later: float = 0.0) -> Verdict:
        """`later`: seconds that have passed since `seen`."""
        if not seen.inflight:
            return FINE
        at, silent, patience = seen.at + later, self._silent + later, self.patience
        if silent < patience:
            return FINE
        since = at - silent
        if self._failed and silent >= self._honest(seen):
            why = f"no byte for {silent:.1f} s with {seen.inflight} requests in flight, and none for a one-token probe"
            return Verdict("wedged", since, why=why)
        probe = None
        if self._probe is not None and at - self._probe > 2 * patience:
            self._probe = None  # whoever sent it has forgotten to tell
        if self._probe is None and at >= self._next_probe:
            self._probe = at
            probe = max(SHORTEST_PROBE * patience, PROBE_ENDS * patience - silent)
        return Verdict("suspect", since, probe, f"no byte for {silent:.1f} s with {seen.inflight} requests in flight")


def _owed(before: Seen | None, seen: Seen) -> float:
    """Returns the seconds since the look before in which the engine owed an answer."""
    if before is not None and before.inflight:
        return max(0.0, seen.at - before.at)
    return max(0.0, seen.at - _since_busy(before, seen)) if seen.inflight else 0.0


def _since_busy(before: Seen | None, seen: Seen) -> float:
    """Returns since when, at the earliest, it has had work without a pause that we know of."""
    if before is not None and before.inflight:
        return before.at
    earliest = before.at if before is not None else seen.at
    return max(earliest, min(seen.at, seen.last_start)) if seen.last_start is not None else seen.at


def _duration(tokens: int, speeds: deque[float], unmeasured: float) -> float:
    """Returns the longest honest time for `tokens`: at a tenth percentile of the speeds measured, with a margin."""
    if not speeds:
        return tokens / unmeasured
    return CAREFUL * tokens / sorted(speeds)[len(speeds) // 10]
