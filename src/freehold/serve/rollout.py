"""Canaries at work: workers pick and count, the steward decides, each through small files.

    run/rollouts.json       the steward's: which share of whose requests goes where; workers read it when it changes
    run/*.trials            a worker's: what each version did for it since its trial began
    rollouts.json           the steward's memory, in FREEHOLD_HOME: what became of each trial, and dead workers' counts

A trial is a canary against the version that is current while it runs. Its name holds both, and a hash of the rules it
is judged by, so that after a change of these it is a new one, while another percentage only makes it faster. One that
was taken back stays so through restarts, until the configuration asks for another.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct, field

from freehold.config.schema import Canary
from freehold.decide import Choice, Deployment, Plan
from freehold.errors import EngineError
from freehold.home import write_private
from freehold.own.rollout import KEPT_TIMES, Decision, Share, Tally, decide, picks

OWN = "own/"
FILE = "rollouts.json"
OURS = frozenset({"internal_error", "shutdown", "cascade_doubt", "overtaken"})
"""Failures that are not the engine's."""

State = Literal["running", "passed", "promoted", "rolled back"]


class Trial(Struct, frozen=True):
    """One canary, as published. `percent` is what is in force: 0 when taken back, 100 when promoted."""

    id: str
    version: str
    percent: float
    state: State = "running"
    why: str = ""
    since: float = 0.0
    """Unix time of the last change of `state`."""
    present: Tally = field(default_factory=Tally)
    tried: Tally = field(default_factory=Tally)
    """Counts so far; without the times, which nobody but the steward needs."""


Trials = dict[str, Trial]
"""run/rollouts.json, by NAME of `own/NAME`."""
Counts = dict[str, dict[str, Tally]]
"""A worker's file: by trial, then by deployment."""

_trials = msgspec.json.Decoder(Trials)
_counts = msgspec.msgpack.Decoder(Counts)


class Rollouts:
    """A worker's half. Costs one look-up per owned request while no canary runs."""

    def __init__(self, run: Path, worker: str, chance: Callable[[], float] = random.random) -> None:
        self._published = run / FILE
        self._path = run / f"{worker}-{time.time_ns()}-{os.getpid()}.trials"
        self._chance = chance
        self._stamp: tuple[int, int] | None = None
        self.trials: Trials = {}
        """Canaries that are tried at present, or were, by NAME."""
        self._watched: dict[str, str] = {}
        self._counts: Counts = {}
        self._saved = True
        self.refresh()

    def refresh(self) -> None:
        """Takes over what the steward has published, if that has changed."""
        try:
            state = self._published.stat()
            stamp = (state.st_mtime_ns, state.st_ino)
            if stamp == self._stamp:
                return
            self.trials = _trials.decode(self._published.read_bytes())
            self._stamp = stamp
        except (OSError, msgspec.DecodeError):
            self.trials, self._stamp = {}, None
        running = {name: trial for name, trial in self.trials.items() if trial.state in ("running", "passed")}
        self._watched = {OWN + name: trial.id for name, trial in running.items()}
        self._watched |= {f"{OWN}{name}@{trial.version}": trial.id for name, trial in running.items()}
        kept = {trial.id for trial in running.values()}
        if not self._counts.keys() <= kept:
            self._counts = {trial: counts for trial, counts in self._counts.items() if trial in kept}
            self._saved = False

    def route(
        self,
        plan: Plan,
        find: Callable[[str], Choice | None],
        health: Callable[[Deployment], str | None],
        conversation: bytes | None = None,
    ) -> Plan:
        """Returns the plan with the canary before the version it is tried against, where chance picks it.

        The present version stays in the plan: a canary that fails before its first byte costs nobody an answer.
        `conversation` is what the client calls its conversation, None where it does not.
        """
        if not self.trials or not plan.attempts or plan.attempts[0].provider != "own":
            return plan
        first = plan.attempts[0]
        trial = self.trials.get(first.model)
        if trial is None or not picks(Share(trial.version, trial.percent), first.model, conversation, self._chance()):
            return plan
        choice = find(f"{OWN}{first.model}@{trial.version}")
        if choice is None or health(choice.members[0]) is not None:
            return plan
        reason = f"canary {trial.version}, {trial.percent:g} % of {first.name}"
        return Plan((choice.members[0], *plan.attempts), reason, plan.dropped)

    def count(self, deployment: str, asked: str, outcome: str, status: int, error: str, microseconds: int) -> None:
        """Counts one attempt that ended, of any deployment. Requests that name a version are nobody's sample."""
        trial = self._watched.get(deployment)
        if trial is None or outcome == "cancelled" or (asked == deployment and "@" in asked):
            return
        failed = outcome != "ok"
        if failed and (400 <= status < 500 or error in OURS):
            return
        tally = self._tally(trial, deployment)
        tally.requests += 1
        if failed:
            tally.failed += 1
        else:
            tally.times.append(microseconds / 1e6)
            if len(tally.times) > 2 * KEPT_TIMES:
                del tally.times[:-KEPT_TIMES]

    def signal(self, deployment: str, name: str, *, bad: bool) -> None:
        """Counts a judgement of one answer, such as `schema`: whether it broke the schema it was asked for."""
        trial = self._watched.get(deployment)
        if trial is not None:
            signals = self._tally(trial, deployment).signals
            before, judged = signals.get(name, (0, 0))
            signals[name] = (before + bad, judged + 1)
            self._saved = False

    def save(self) -> None:
        """Leaves the counts where the steward finds them."""
        if not self._saved:
            write_private(self._path, msgspec.msgpack.encode(self._counts))
            self._saved = True

    def _tally(self, trial: str, deployment: str) -> Tally:
        self._saved = False
        return self._counts.setdefault(trial, {}).setdefault(deployment, Tally())


class Wanted(Struct, frozen=True):
    """A canary of the configuration. `present` is the version it is tried against; `pinned`: a person wrote that
    version down, so only a person can replace it."""

    name: str
    canary: Canary
    present: str
    pinned: bool = False

    @property
    def trial(self) -> str:
        rules = msgspec.structs.replace(self.canary, percent=1.0)
        digest = hashlib.sha256(msgspec.json.encode(rules, order="deterministic")).hexdigest()[:8]
        return f"{self.name}@{self.canary.version} against {self.present}, {digest}"


class Outcome(Struct):
    state: State
    why: str
    at: float


class Memory(Struct):
    """FREEHOLD_HOME/rollouts.json. `folded` are the workers' files whose counts are in `counts`."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)


class Referee:
    """The steward's half. `promote(name, version)` makes a version current; it raises EngineError when it may not."""

    def __init__(self, run: Path, memory: Path, promote: Callable[[str, str], object]) -> None:
        self._run = run
        self._path = memory
        self._promote = promote
        self._wanted: tuple[Wanted, ...] = ()
        self._content = b""
        try:
            self._memory = msgspec.json.decode(memory.read_bytes(), type=Memory)
        except (OSError, msgspec.DecodeError):
            self._memory = Memory()

    def configure(self, wanted: list[Wanted]) -> None:
        """From now on these canaries are tried. One whose version is current is over, and stays so when a person goes
        back to the version before. One that nobody asks for any more is forgotten."""
        self._wanted = tuple(entry for entry in wanted if entry.canary.version != entry.present)
        asked = {f"{entry.name}@{entry.canary.version}": entry for entry in wanted}
        for trial, outcome in list(self._memory.outcomes.items()):
            entry = asked.get(trial.partition(" against ")[0])
            if entry is None:
                del self._memory.outcomes[trial]
            elif entry.canary.version == entry.present:
                outcome.state, outcome.why = "rolled back", "another version was made current since"

    def step(self, now: float, failures: Mapping[str, str]) -> bool:
        """Judges every trial and publishes; returns whether a version was promoted, so that engines must follow.

        `now` is Unix time. `failures` says of engines that will not start by themselves why not, by name.
        """
        for mark in self._run.glob("*.again"):
            self._forget(unquote(mark.stem))
            mark.unlink(missing_ok=True)
        counts = self._collect()
        trials: Trials = {}
        promoted = False
        for entry in self._wanted:
            tallies = counts.get(entry.trial, {})
            present = tallies.get(OWN + entry.name, Tally())
            tried = tallies.get(f"{OWN}{entry.name}@{entry.canary.version}", Tally())
            outcome = self._memory.outcomes.get(entry.trial)
            if outcome is None or outcome.state == "passed":
                decision = _decide(entry, present, tried, failures)
                before, outcome = outcome, self._act(entry, decision, outcome, now)
                promoted |= outcome is not None and outcome.state == "promoted" and outcome is not before
            trials[entry.name] = _shown(entry, outcome, present, tried, decision.why if outcome is None else "")
        self._publish(trials)
        return promoted

    def _forget(self, name: str) -> None:
        """Lets the canaries of a model be tried anew. Workers have dropped their counts of a trial that was over."""
        for trial in [trial for trial in self._memory.outcomes if trial.startswith(f"{name}@")]:
            del self._memory.outcomes[trial]
            self._memory.counts.pop(trial, None)
        self._remember()

    def _act(self, entry: Wanted, decision: Decision, before: Outcome | None, now: float) -> Outcome | None:
        state: State
        match decision.action:
            case "wait":
                return before
            case "roll back":
                state, why = "rolled back", decision.why
            case "promote":
                state, why = self._promoted(entry, decision.why)
        if before is not None and (before.state, before.why) == (state, why):
            return before
        if before is not None and before.state == state:
            before.why = why
            return before
        outcome = self._memory.outcomes[entry.trial] = Outcome(state, why, now)
        self._remember()
        return outcome

    def _promoted(self, entry: Wanted, why: str) -> tuple[State, str]:
        if not entry.canary.promote:
            return "passed", f"{why}; freehold deploy {entry.name} --promote makes it current"
        if entry.pinned:
            return "promoted", f"{why}; it gets every request until version: {entry.canary.version} is written down"
        try:
            self._promote(entry.name, entry.canary.version)
        except EngineError as error:
            return "passed", f"{why}; it was not made current: {error.text}"
        return "promoted", why

    def _collect(self) -> Counts:
        """Adds up what all workers have counted. Counts of a dead one move into our own file, each once."""
        total: Counts = {}
        _add(total, self._memory.counts)
        dead = []
        for path in sorted(self._run.glob("*.trials")):
            if path.name in self._memory.folded:
                path.unlink(missing_ok=True)
                continue
            counts = _read(path)
            _add(total, counts)
            if not _lives(path):
                dead.append((path, counts))
        wanted = {entry.trial for entry in self._wanted}
        if dead:
            for path, counts in dead:
                _add(self._memory.counts, {trial: of for trial, of in counts.items() if trial in wanted})
                self._memory.folded.append(path.name)
            self._remember()
            for path, _ in dead:
                path.unlink(missing_ok=True)
            self._memory.folded.clear()
            self._remember()
        return total

    def _remember(self) -> None:
        write_private(self._path, msgspec.json.encode(self._memory))

    def _publish(self, trials: Trials) -> None:
        content = msgspec.json.encode(trials)
        if content != self._content:
            write_private(self._run / FILE, content)
            self._content = content


def try_again(run: Path, name: str) -> None:
    """Asks a running steward to forget what became of the canaries of `own/NAME`."""
    write_private(run / f"{quote(name, safe='')}.again", b"")


def read_trials(run: Path) -> Trials:
    """Returns what the steward has published, nothing where there is no gateway."""
    try:
        return _trials.decode((run / FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}


def _decide(entry: Wanted, present: Tally, tried: Tally, failures: Mapping[str, str]) -> Decision:
    reason = failures.get(f"{entry.name}@{entry.canary.version}")
    if reason is not None:
        return Decision("roll back", f"its engine does not run: {reason}")
    return decide(entry.canary, present, tried)


def _shown(entry: Wanted, outcome: Outcome | None, present: Tally, tried: Tally, why: str) -> Trial:
    state: State = outcome.state if outcome is not None else "running"
    return Trial(
        entry.trial,
        entry.canary.version,
        {"promoted": 100.0, "rolled back": 0.0}.get(state, entry.canary.percent),
        state,
        outcome.why if outcome is not None else why,
        outcome.at if outcome is not None else 0.0,
        msgspec.structs.replace(present, times=[]),
        msgspec.structs.replace(tried, times=[]),
    )


def _add(total: Counts, counts: Counts) -> None:
    for trial, deployments in counts.items():
        mine = total.setdefault(trial, {})
        for deployment, tally in deployments.items():
            mine.setdefault(deployment, Tally()).add(tally)


def _read(path: Path) -> Counts:
    try:
        return _counts.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}


def _lives(path: Path) -> bool:
    pid = path.stem.rpartition("-")[2]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
