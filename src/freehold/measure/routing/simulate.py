"""One machine of one's own and one model for rent, under an hour of real traffic: what each way to choose would cost.

Arrivals, prompt and answer lengths are those of Azure's published traces (conversation and code, November 2023; CC BY).
To reach an offered load the trace is played faster or slower; 1.0 is all the machine can do. The router sees prompt
lengths as they are, and of answers only what is true on average.

The machine    Qwen3-32B in FP8 on one H100 under TensorRT-LLM 1.0.0rc3. Its speed is a fit to the 36 points of
               aiconfigurator (Apache-2.0) `qwen_qwen3_32b_..._h100_sxm_trtllm_agg_{P}x{A}_c{N}_tp1` with prompts P of
               1024, 2048 and 4096, answers A of 128, 256 and 512 and N of 8, 16, 32 and 64 requests: prompts are read
               at 14,070 tokens a second, one after another and before anything else, and n answers make a step of
               13.2 + 0.154 n milliseconds. Time per output token is met within 4 % on average, 17 % at worst. 64
               places, the most that was measured before memory ran short. $2.50 an hour, assumed
The rented     the same model at $0.29 and $0.59 per million tokens, Groq's price of November 2026. Time to first token
               is log-normal with a median of 0.4 s and a 99th percentile of 1.3 s, assumed, whatever the load

Ways to choose: `all owned` waits as long as it takes; `all rented`; `round robin`; `fixed price` knows that an owned
token costs nothing, so it goes elsewhere when 500 wait or it has waited for a minute (the gate's own limits);
`Freehold` is the code that routes (decide/rank.py and price.py), told of the engine what serve/pressure.py tells;
`Freehold, patient` is the same for bulk work, in a role with a patience of ten seconds.

The machine costs the same whoever chooses, so what a router can save is the rent; both are printed.
"""

import csv
import gzip
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from freehold.classify.facts import Facts
from freehold.decide.catalog import Deployment
from freehold.decide.policy import USUAL, Policy
from freehold.decide.price import eased
from freehold.decide.rank import rank
from freehold.decide.signals import NOTHING, Signals
from freehold.decide.world import World

READS = 14_070.0
STEP, STEP_EACH = 0.0132, 0.000154
PLACES = 64
HOURLY = 2.50
INPUT, OUTPUT = 0.29, 0.59
FIRST, SPREAD = 0.4, 0.5
MOST_WAITING, LONGEST_WAIT = 500, 60.0
PATIENCE = 10.0
POLICIES = ("all owned", "all rented", "round robin", "fixed price", "Freehold", "Freehold, patient")
LOADS = (0.4, 0.8, 1.2, 1.6)
SEEDS = (1, 2, 3)
MEMORY = 1 / 50
"""Weight of one answer in the running means that the router is told."""

OWNED = Deployment("own/qwen3-32b", "own", "qwen3-32b", "chat", True, input_price=0.0, output_price=0.0, slots=PLACES)
RENTED = Deployment("groq/qwen3-32b", "groq", "qwen3-32b", "chat", input_price=INPUT, output_price=OUTPUT)


class Request(Struct, frozen=True, gc=False):
    """`at` in seconds since the first; tokens."""

    at: float
    prompt: int
    answer: int


class Outcome(Struct, frozen=True):
    """One run. Money is US dollars per thousand requests, times to first token are seconds."""

    trace: str
    load: float
    policy: str
    owned: float
    rent: float
    total: float
    p50: float
    p99: float


def read_trace(path: Path) -> list[Request]:
    """Reads `TIMESTAMP,ContextTokens,GeneratedTokens`, in order of time. Raises OSError or ValueError."""
    with gzip.open(path, "rt", newline="") as file:
        rows = [
            (datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(), row["ContextTokens"], row["GeneratedTokens"])
            for row in csv.DictReader(file)
        ]
    rows.sort()
    start = rows[0][0]
    return [Request(at - start, max(1, int(prompt)), max(1, int(answer))) for at, prompt, answer in rows]


def work(trace: Sequence[Request]) -> float:
    """Returns the seconds that a full machine needs for all of it."""
    step = (STEP + STEP_EACH * PLACES) / PLACES
    return sum(one.prompt / READS + one.answer * step for one in trace)


def at_load(trace: Sequence[Request], load: float) -> list[Request]:
    """Returns the trace played so fast that the machine would be busy for `load` of the time."""
    scale = work(trace) / load / trace[-1].at
    return [Request(one.at * scale, one.prompt, one.answer) for one in trace]


class Machine:
    """An engine with continuous batching: reads one prompt at a time, and while there is none to read, writes to all.

    `advance` lets time pass. `began` is called with a request's number when its first token comes, or with `late` set
    where it has waited too long and leaves.
    """

    def __init__(self, began: Callable[[int, float, bool], None], patience: float) -> None:
        self.now = 0.0
        self._began = began
        self._patience = patience
        self._steps = 0.0
        self._writing: list[tuple[float, float]] = []
        """Heap of (step at which it ends, when it came)."""
        self._queue: deque[tuple[int, Request]] = deque()
        self._reading: tuple[float, int, Request] | None = None
        self.unread = 0
        self.whole = 0.0
        """Seconds that a request takes, a running mean."""

    @property
    def inside(self) -> int:
        return len(self._writing) + (self._reading is not None)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, number: int, request: Request) -> None:
        self._queue.append((number, request))
        self.unread += request.prompt

    def advance(self, until: float) -> None:
        while self.now < until:
            if self._reading is not None:
                end, number, request = self._reading
                if end > until:
                    self.now = until
                    return
                self.now, self._reading = end, None
                self.unread -= request.prompt
                self._began(number, end - request.at, False)
                heapq.heappush(self._writing, (self._steps + request.answer - 1, request.at))
            elif self._queue and len(self._writing) < PLACES:
                number, request = self._queue.popleft()
                if self.now - request.at > self._patience:
                    self.unread -= request.prompt
                    self._began(number, self._patience, True)
                    continue
                self._reading = (self.now + request.prompt / READS, number, request)
            elif self._writing:
                self._write(until)
            else:
                self.now = until

    def _write(self, until: float) -> None:
        step = STEP + STEP_EACH * len(self._writing)
        ends, came = self._writing[0]
        needed = (ends - self._steps) * step
        if self.now + needed > until:
            self._steps += (until - self.now) / step
            self.now = until
            return
        self.now += needed
        self._steps = ends
        heapq.heappop(self._writing)
        took = self.now - came
        self.whole = took if not self.whole else self.whole + MEMORY * (took - self.whole)


class Router:
    """The code that routes, told of the machine what serve/pressure.py would tell."""

    def __init__(self, machine: Machine, policy: Policy = USUAL) -> None:
        self._machine = machine
        self._policy = policy
        self._signals = NOTHING
        self._at = 0.0
        self._wait = 0.0
        self._world = World(seen=lambda deployment: self._signals if deployment.owned else NOTHING)

    def owned(self, request: Request) -> bool:
        machine = self._machine
        inside, waiting = machine.inside, machine.waiting
        wait = machine.unread / READS
        if inside + waiting >= PLACES:
            wait = max(wait, (inside + waiting - PLACES + 1) / PLACES * machine.whole)
        self._wait = eased(self._wait, wait, request.at - self._at)
        self._at = request.at
        per_token = STEP + STEP_EACH * PLACES / 2
        self._signals = Signals(inside, PLACES, waiting, 0.0, 1000 / READS, per_token, self._wait)
        facts = Facts("auto", frozenset(), request.prompt, 1024)
        order = rank((OWNED, RENTED), facts, self._policy, self._world)[0]
        return order[0].owned


def run(trace: Sequence[Request], policy: str, seed: int, name: str = "", load: float = 0.0) -> Outcome:
    """Plays `trace` once. The seed draws the rented model's times."""
    rng = random.Random(seed)  # noqa: S311  a simulation
    firsts = [0.0] * len(trace)
    rented: list[int] = []

    def rent(number: int, after: float = 0.0) -> None:
        rented.append(number)
        firsts[number] = after + FIRST * math.exp(SPREAD * rng.gauss(0.0, 1.0))

    def began(number: int, first: float, late: bool) -> None:
        if late:
            rent(number, first)
        else:
            firsts[number] = first

    machine = Machine(began, LONGEST_WAIT if policy == "fixed price" else math.inf)
    router = Router(machine, Policy(patience=PATIENCE) if policy == "Freehold, patient" else USUAL)
    for number, request in enumerate(trace):
        machine.advance(request.at)
        if policy == "all owned":
            here = True
        elif policy == "all rented":
            here = False
        elif policy == "round robin":
            here = number % 2 == 0
        elif policy == "fixed price":
            here = machine.waiting < MOST_WAITING
        else:
            here = router.owned(request)
        if here:
            machine.add(number, request)
        else:
            rent(number)
    machine.advance(trace[-1].at + 1e6)
    dollars = sum(trace[n].prompt * INPUT + trace[n].answer * OUTPUT for n in rented) / 1e6
    hours = trace[-1].at / 3600
    machine_dollars = 0.0 if policy == "all rented" else HOURLY * hours
    per = 1000 / len(trace)
    firsts.sort()
    return Outcome(
        name,
        load,
        policy,
        1.0 - len(rented) / len(trace),
        dollars * per,
        (dollars + machine_dollars) * per,
        firsts[len(firsts) // 2],
        firsts[int(0.99 * len(firsts))],
    )


def outcomes(
    conversation: Path, code: Path, seeds: Sequence[int] = SEEDS, loads: Sequence[float] = LOADS
) -> list[Outcome]:
    """Returns each policy at each load on both traces, the means over `seeds`."""
    found = []
    for name, path in (("conversation", conversation), ("code", code)):
        trace = read_trace(path)
        for load in loads:
            played = at_load(trace, load)
            for policy in POLICIES:
                draws = seeds[:1] if policy == "all owned" else seeds
                runs = [run(played, policy, seed, name, load) for seed in draws]
                mean = {
                    field: sum(getattr(one, field) for one in runs) / len(runs)
                    for field in ("owned", "rent", "total", "p50", "p99")
                }
                found.append(Outcome(name, load, policy, **mean))
    return found


def tables(conversation: Path, code: Path, seeds: Sequence[int] = SEEDS, loads: Sequence[float] = LOADS) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [
        "| trace | offered load | choice | owned | rent, $ per 1,000 | with machine | first token p50, s | p99, s |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.trace} | {one.load:.1f} | {one.policy} | {100 * one.owned:.0f} % | {one.rent:.3f} | {one.total:.3f} "
        f"| {one.p50:.2f} | {one.p99:.2f} |"
        for one in outcomes(conversation, code, seeds, loads)
    ]
    return lines
