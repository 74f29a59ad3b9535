"""The judge against simulated engines: honest ones of every slowness, and ones that hang.

The simulation has a clock of its own and steps from look to look. An engine has slots, a reading speed that its slots
share, a writing speed, and requests that queue when the slots are taken; the probe queues with them.
"""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.own.health import BATCH, MARGIN, PROBE_ENDS, UNMEASURED_READ, Counts, Judge, Seen, Verdict

STALL = 30.0


@dataclass
class Request:
    prompt: int
    output: int
    streamed: bool = True
    burst: int = 1
    """Tokens sent at a time."""
    pause_at: int = -1
    pause: float = 0.0
    """Seconds that the model thinks, unseen, after `pause_at` tokens."""
    start: float = 0.0
    queued: bool = False
    read: float = 0.0
    written: float = 0.0
    thought: float = 0.0
    sent: int = 0
    batches: int = 0
    first: float | None = None


@dataclass
class Engine:
    slots: int
    read_speed: float
    write_speed: float
    counter: Counts | None = None
    """What its metrics show. Of "tokens", those of a prompt show when it has been read."""
    wedged: bool = False
    running: list[Request] = field(default_factory=list)
    waiting: deque[Request] = field(default_factory=deque)
    received: int = 0
    last_byte: float | None = None
    last_start: float | None = None
    tokens: int = 0
    busy: int = 0
    done: list[Request] = field(default_factory=list)

    def send(self, request: Request, now: float) -> None:
        request.start = now
        request.queued = len(self.running) >= self.slots
        self.last_start = now
        self.waiting.append(request)

    def step(self, now: float, seconds: float) -> None:
        if self.wedged:
            return
        while self.waiting and len(self.running) < self.slots:
            self.running.append(self.waiting.popleft())
        reading = [request for request in self.running if request.read < request.prompt]
        for request in list(self.running):
            if request.read < request.prompt:
                request.read += seconds * self.read_speed / len(reading)
                if self.counter == "steps":
                    self._batch(request)
                elif request.read >= request.prompt:
                    self.tokens += request.prompt
            elif request.pause_at >= 0 and request.written >= request.pause_at and request.thought < request.pause:
                request.thought += seconds
                self.tokens += 1
            else:
                self._write(request, now, seconds)

    def _batch(self, request: Request) -> None:
        """Of 2,048 tokens: when one is done, the counter moves and can be read for a moment."""
        done = int(request.read) // 2048
        self.busy = 0 if done > request.batches or request.read >= request.prompt else 1
        self.tokens += done > request.batches
        request.batches = done

    def _write(self, request: Request, now: float, seconds: float) -> None:
        before = int(request.written)
        request.written += seconds * self.write_speed
        self.tokens += int(request.written) - before
        ended = request.written >= request.output
        due = int(request.written) // request.burst * request.burst if request.streamed else 0
        if (due > request.sent or ended) and (ended or request.streamed):
            request.sent = due
            request.first = now if request.first is None else request.first
            self.received += 1
            self.last_byte = now
        if ended:
            self.running.remove(request)
            self.done.append(request)

    @property
    def shown(self) -> int | None:
        """The counter as far as it can be read: not while a long batch of a prompt is computed."""
        if self.counter is None or (self.counter == "steps" and self.busy > 0):
            return None
        return len(self.done) if self.counter == "ends" else self.tokens

    @property
    def inflight(self) -> list[Request]:
        return [request for request in (*self.running, *self.waiting) if request.prompt > 1]

    def seen(self, now: float, error: float, hides: bool) -> Seen:
        requests = self.inflight
        unread = [request.prompt for request in requests if request.first is None]
        unseen = [
            request.output + int(request.pause * self.write_speed)
            for request in requests
            if not request.streamed or hides
        ]
        return Seen(
            now,
            len(requests),
            self.received,
            self.last_byte,
            self.last_start,
            sum(request.first is not None for request in requests),
            int(max(unread, default=0) * error),
            max(unseen, default=0),
            self.shown,
        )


@dataclass
class Watch:
    """What the steward does: looks, probes, reports."""

    engine: Engine
    judge: Judge
    error: float = 1.0
    hides: bool = False
    now: float = 0.0
    probe: Request | None = None
    probe_until: float = 0.0
    probes: int = 0
    learned: int = 0

    def step(self, seconds: float) -> Verdict:
        self.now += seconds
        engine, judge = self.engine, self.judge
        engine.step(self.now, seconds)
        for request in engine.done[self.learned :]:
            if request.prompt > 1 and not request.queued and request.first is not None:
                first = request.first - request.start if request.streamed else self.now - request.start
                judge.answered(request.prompt, first, request.output, self.now - request.start)
        self.learned = len(engine.done)
        verdict = judge.look(engine.seen(self.now, self.error, self.hides))
        if self.probe is not None and (self.probe in engine.done or self.now >= self.probe_until):
            token = self.probe in engine.done
            if not token:
                for requests in (engine.running, engine.waiting):
                    if self.probe in requests:
                        requests.remove(self.probe)
            self.probe = None
            verdict = judge.probed(self.now, token=token)
        if verdict.probe is not None:
            self.probe, self.probe_until = Request(1, 1), self.now + verdict.probe
            self.probes += 1
            engine.waiting.append(self.probe)
            self.probe.start = self.now
        return verdict


def make_request(kind: str, rng: random.Random) -> Request:
    match kind:
        case "slow":
            return Request(rng.randint(20, 400), rng.randint(5, 20))
        case "bursty":
            return Request(rng.randint(20, 400), rng.randint(16, 48), burst=8)
        case "long prompt":
            return Request(rng.choice([200, 2_000, 40_000, 60_000]), rng.randint(5, 60))
        case "whole":
            return Request(rng.randint(20, 2_000), rng.randint(20, 600), streamed=False)
        case "thinking":
            at = rng.randint(1, 20)
            return Request(rng.randint(20, 2_000), at + rng.randint(5, 60), pause_at=at, pause=rng.uniform(1, 100))
        case _:
            return make_request(rng.choice(["slow", "bursty", "long prompt", "whole"]), rng)


SPEEDS = {  # reading, writing: tokens a second
    "slow": (20.0, 0.2),
    "bursty": (40.0, 0.5),
    "long prompt": (300.0, 5.0),
    "whole": (100.0, 4.0),
    "thinking": (200.0, 5.0),
    "mixed": (300.0, 2.0),
}
COUNTERS: list[Counts | None] = [None, "ends", "tokens", "steps"]
KINDS = [(kind, counter, slots) for kind in SPEEDS for counter in COUNTERS for slots in (1, 4)]
REQUESTS = 10_000 // len(KINDS) + 1


@pytest.mark.parametrize(("kind", "counter", "slots"), KINDS)
def test_no_honest_engine_is_ejected(kind: str, counter: Counts | None, slots: int) -> None:
    """All cases together: over 10,000 requests."""
    rng = random.Random(f"{kind} {counter} {slots}")
    engine = Engine(slots, *SPEEDS[kind], counter)
    judge = Judge(STALL, counts=counter or "ends")
    judge.began(0.0)
    watch = Watch(engine, judge, rng.uniform(0.7, 1.3), hides=kind == "thinking")
    sent = 0
    most = 1
    while len(engine.done) - watch.probes < REQUESTS and (sent < REQUESTS or engine.inflight):
        if not engine.inflight:
            watch.step(rng.uniform(0.2, 60.0))
            most = rng.randint(1, 3 * slots)
        while sent < REQUESTS and len(engine.inflight) < most and rng.random() < 0.5:
            engine.send(make_request(kind, rng), watch.now)
            sent += 1
        verdict = watch.step(rng.uniform(1.0, 3.0))
        assert verdict.state != "wedged", f"request {sent} at {watch.now:.0f} s: {verdict.why}"
    assert sent >= REQUESTS


@pytest.mark.parametrize("kind", ["slow", "bursty", "mixed", "thinking"])
@pytest.mark.parametrize("counter", [None, "tokens", "steps"])
@pytest.mark.parametrize("slots", [1, 4])
def test_a_wedge_is_told_within_twice_the_stall(kind: str, counter: Counts | None, slots: int) -> None:
    """In the middle of honest work, and unless that work excuses more."""
    rng = random.Random(f"{kind} {counter} {slots}")
    for _ in range(3):
        engine = Engine(slots, *SPEEDS[kind], counter)
        judge = Judge(STALL, counts=counter or "ends")
        watch = Watch(engine, judge, hides=kind == "thinking")
        for _ in range(rng.randint(50, 1_000)):
            if len(engine.inflight) < slots:
                engine.send(make_request(kind if kind != "mixed" else "slow", rng), watch.now)
            assert watch.step(rng.uniform(0.2, 1.0)).state != "wedged"
        if not engine.inflight:
            engine.send(make_request("slow", rng), watch.now)
        engine.wedged = True
        began, excuse = watch.now, 0.0
        while (verdict := watch.step(rng.uniform(0.2, 1.0))).state != "wedged":
            excuse = max(excuse, judge.excuse(engine.seen(watch.now, 1.0, watch.hides)))
            assert watch.now - began <= max(2 * judge.patience, judge.patience + excuse + 2), verdict
            if rng.random() < 0.1:
                engine.send(Request(40, 10), watch.now)
        if counter == "steps" and not engine.busy:
            assert watch.now - began <= 2 * judge.patience, "whatever the work is: the counter is read and stands still"


def test_an_engine_that_never_answered_is_told_too() -> None:
    """It listens, its /health says 200, and no token ever comes."""
    for progress in (None, 0):
        judge = Judge(2.0)
        judge.began(0.0)
        at, verdict, until = 1.0, Verdict("fine"), None
        while verdict.state != "wedged":
            at += 0.1
            assert at - 1.0 <= 4.0
            verdict = judge.look(Seen(at, 3, last_start=1.0, prompt_tokens=20, progress=progress))
            if until is not None and at >= until:
                verdict, until = judge.probed(at, token=False), None
            if verdict.probe is not None:
                until = at + verdict.probe
        assert "3 requests" in verdict.why
        assert verdict.since == pytest.approx(1.0, abs=0.2)


def test_the_probe_answered_makes_it_fine() -> None:
    judge = Judge(10.0)
    judge.look(Seen(0.0, 1, last_start=0.0))
    assert judge.look(Seen(9.0, 1)).state == "fine"
    verdict = judge.look(Seen(10.5, 1))
    assert verdict.state == "suspect"
    assert verdict.probe == pytest.approx(PROBE_ENDS * 10.0 - 10.5)
    assert judge.look(Seen(11.0, 1)).probe is None, "one probe at a time"
    assert judge.probed(11.5, token=True).state == "fine"
    assert judge.look(Seen(20.0, 1)).state == "fine"
    assert judge.look(Seen(22.0, 1)).state == "suspect"


def test_hanging_up_is_no_sign_of_life() -> None:
    """Clients that give up after five seconds, again and again, hide nothing."""
    judge = Judge(10.0)
    at, told = 0.0, None
    while told is None and at < 60:
        at += 0.5
        inflight = int(at) % 6 != 0
        verdict = judge.look(Seen(at, int(inflight), last_start=at - at % 6 if inflight else None))
        if verdict.probe is not None:
            told = judge.probed(at + 1.0, token=False) if inflight else None
    assert told is not None
    assert told.state == "wedged"
    assert at <= 20


def test_an_idle_engine_is_never_suspect() -> None:
    judge = Judge(1.0)
    for at in range(1, 1000):
        assert judge.look(Seen(float(at), 0, progress=7)).state == "fine"


def test_new_requests_do_not_help_a_silent_engine() -> None:
    judge = Judge(10.0)
    judge.look(Seen(0.0, 1, last_start=0.0))
    for at in range(1, 12):
        verdict = judge.look(Seen(float(at), at, last_start=float(at)))
    assert verdict.state == "suspect"


def test_a_long_prompt_is_excused_as_long_as_it_may_honestly_take() -> None:
    judge = Judge(10.0)
    judge.look(Seen(0.0, 1, last_start=0.0, prompt_tokens=4000))
    judge.look(Seen(11.0, 1, prompt_tokens=4000))
    assert judge.probed(19.0, token=False).state == "suspect"
    honest = 4000 / UNMEASURED_READ
    assert judge.look(Seen(9.0 + honest, 1, prompt_tokens=4000)).state == "suspect"
    assert judge.look(Seen(11.0 + honest, 1, prompt_tokens=4000)).state == "wedged"


def test_what_was_measured_replaces_the_assumption() -> None:
    judge = Judge(10.0)
    judge.answered(2000, 1.0, 50, 2.0)
    seen = Seen(0.0, 1, prompt_tokens=2000, unseen_tokens=50)
    assert judge.excuse(seen) == pytest.approx(3 * (1.0 + 1.0))


def test_reading_is_known_to_be_no_slower_than_writing() -> None:
    """Prompts of a few tokens say nothing of reading, answers to them do."""
    judge = Judge(10.0)
    judge.answered(5, 0.01, 101, 1.01)
    assert judge.excuse(Seen(0.0, 1, prompt_tokens=60)) == pytest.approx(3 * 60 / 101, rel=0.02)
    slow = Judge(10.0)
    slow.answered(5, 0.5, 2, 1.5)
    assert slow.excuse(Seen(0.0, 1, prompt_tokens=60)) == 60 / UNMEASURED_READ


@pytest.mark.parametrize("readable", [True, False])
def test_a_counter_that_stands_still_leaves_no_excuse(readable: bool) -> None:
    judge = Judge(10.0, counts="steps")
    for at in range(11):
        verdict = judge.look(
            Seen(float(at), 1, last_start=0.0, prompt_tokens=100_000, progress=5 if readable else None)
        )
    assert verdict.probe is not None
    assert judge.probed(18.0, token=False).state == ("wedged" if readable else "suspect")


@pytest.mark.parametrize(("counts", "state"), [("ends", "suspect"), ("tokens", "wedged"), ("steps", "wedged")])
def test_a_counter_that_cannot_be_read_any_more_excuses_no_writing(counts: Counts, state: str) -> None:
    judge = Judge(10.0, counts=counts)
    judge.look(Seen(0.0, 1, last_start=0.0, unseen_tokens=500, progress=5))
    judge.look(Seen(11.0, 1, unseen_tokens=500))
    assert judge.probed(19.0, token=False).state == state


def test_a_counter_that_cannot_be_read_excuses_one_batch_of_a_prompt() -> None:
    judge = Judge(10.0, counts="steps")
    judge.answered(10_000, 10.0, 5, 11.0)
    judge.look(Seen(0.0, 1, last_start=0.0, prompt_tokens=100_000, progress=5))
    judge.look(Seen(11.0, 1, prompt_tokens=100_000))
    batch = 3 * BATCH / 1000
    assert judge.probed(1.5 * batch - 1, token=False).state == "suspect"
    assert judge.look(Seen(1.5 * batch + 1, 1, prompt_tokens=100_000)).state == "wedged"


def test_work_that_takes_less_than_the_patience_adds_nothing_to_it() -> None:
    judge = Judge(10.0)
    judge.look(Seen(0.0, 1, last_start=0.0, prompt_tokens=100))
    judge.look(Seen(11.0, 1, prompt_tokens=100))
    assert judge.probed(16.0, token=False).state == "wedged"


def test_a_counter_read_for_the_first_time_proves_nothing_yet() -> None:
    """It could not be read while a batch was computed, so it has its old value when it can."""
    judge = Judge(10.0, counts="steps")
    judge.look(Seen(0.0, 1, last_start=0.0, prompt_tokens=100_000, progress=5))
    judge.look(Seen(11.0, 1, prompt_tokens=100_000))
    judge.look(Seen(17.0, 1, prompt_tokens=100_000, progress=5))
    assert judge.probed(19.0, token=False).state == "suspect"
    assert judge.look(Seen(20.0, 1, prompt_tokens=100_000, progress=5)).state == "suspect"
    assert judge.look(Seen(22.0, 1, prompt_tokens=100_000, progress=5)).state == "wedged"


def test_a_counter_that_moves_is_a_sign_of_life() -> None:
    judge = Judge(10.0, counts="steps")
    for at in range(1000):
        assert judge.look(Seen(float(at), 1, last_start=0.0, progress=at // 9)).state == "fine"


def test_patience_grows_with_the_pauses_of_the_engine() -> None:
    judge = Judge(10.0)
    for at in range(0, 8 * 200, 8):
        judge.look(Seen(float(at), 1, received=at, last_byte=float(at), streaming=1))
    assert judge.patience == MARGIN * 8
    judge.began(2000.0)
    assert judge.patience == MARGIN * 8, "a new process is the same model on the same machine"


def test_quick_engines_keep_the_configured_stall() -> None:
    judge = Judge(10.0)
    for step in range(1, 2000):
        at = step / 4
        judge.look(Seen(at, 1, received=step, last_byte=at, streaming=1))
    assert judge.patience == 10.0


looks = st.tuples(
    st.floats(0.01, 3.0),  # seconds since the look before
    st.integers(0, 4),  # in flight
    st.booleans(),  # bytes came
    st.sampled_from([None, 0, 1]),  # how far the counter moved, None: not readable
    st.integers(0, 5000),  # prompt tokens
    st.booleans(),  # the probe answers
)


@settings(max_examples=150)
@given(st.lists(looks, max_size=60), st.floats(0.5, 10.0), st.booleans())
def test_only_long_silence_and_a_failed_probe_make_a_wedge(
    steps: list[tuple[float, int, bool, int | None, int, bool]], stall: float, counts: bool
) -> None:
    judge = Judge(stall, counts="steps" if counts else "tokens")
    at, received, progress, alive, asked, failed = 100.0, 0, 0, 100.0, False, False
    judge.began(at)
    for seconds, inflight, byte, moved, prompt, token in steps:
        at += seconds
        received += byte
        progress += moved or 0
        seen = Seen(at, inflight, received, at if byte else None, at, 0, prompt, 0, None if moved is None else progress)
        verdict = judge.look(seen)
        if asked:
            asked, failed = False, not token
            alive = at if token else alive
            verdict = judge.probed(at, token=token)
        if byte:
            alive, failed = at, False
        if verdict.state == "wedged":
            assert failed
            assert at - alive >= stall
            assert verdict.since >= alive - 1e-6
            judge.began(at)
            alive, asked, failed = at, False, False
        elif verdict.probe is not None:
            assert inflight
            assert at - alive >= stall - 1e-6
            assert verdict.probe > 0
            asked = True


@given(st.floats(0.5, 100.0), st.floats(0.02, 0.1), st.integers(1, 500), st.booleans())
def test_silence_always_ends_in_a_verdict_within_twice_the_stall(
    stall: float, pace: float, inflight: int, readable: bool
) -> None:
    judge = Judge(stall)
    at, until, verdict = 0.0, float("inf"), Verdict("fine")
    while verdict.state != "wedged":
        at += pace * stall
        verdict = judge.look(Seen(at, inflight, streaming=inflight, last_start=0.0, progress=3 if readable else None))
        if at >= until:
            verdict, until = judge.probed(at, token=False), float("inf")
        if verdict.probe is not None:
            until = at + verdict.probe
        assert at <= 2 * stall + pace * stall
