"""What is posted to the steward's task, besides what a life tells (lives.py)."""

from msgspec import Struct

from freehold.own.engine import EngineSpec, Published, State
from freehold.own.link import Report
from freehold.own.lives import Answering, Ended, Prepared, Run, Spawned, Warm
from freehold.own.slots import Slot


class Absent(Struct, frozen=True):
    """Why a name that should be served cannot be; `pulling`: its weights are on their way."""

    why: str
    pulling: bool = False

    def published(self) -> Published:
        return Published(State.PULLING if self.pulling else State.FAILED, error=self.why, lasting=not self.pulling)


class Wanted(Struct):
    """`absent`: names that should be served and cannot be yet."""

    specs: tuple[EngineSpec, ...]
    absent: dict[str, Absent] = {}


class Heard(Struct):
    worker: int
    report: Report | None
    """None: the worker is gone."""


class Planned(Struct):
    slot: Slot
    spec: EngineSpec
    prepared: Prepared | None
    error: str = ""
    lasting: bool = False


class Slept(Struct):
    run: Run
    error: str | None


class Adapted(Struct):
    """LoRA weights were loaded and forgotten while it ran."""

    run: Run
    spec: EngineSpec
    error: str | None


class Wedged(Struct):
    run: Run
    why: str


class Stop(Struct):
    pass


class Tick(Struct):
    """Something may be due: a retry, a change of places, the file that could not be written."""


Event = Spawned | Answering | Warm | Ended | Wanted | Heard | Planned | Slept | Adapted | Wedged | Stop | Tick
