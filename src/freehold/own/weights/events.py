"""What a pull tells while it runs. Whoever shows it takes one function that gets these, in the loop of the pull."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from freehold.own.weights.remote import Event as Download

if TYPE_CHECKING:
    from freehold.own.weights.plan import Estimate, Plan


class Step(Struct, frozen=True):
    """What begins now, in words."""

    text: str


class Note(Struct, frozen=True):
    """Something that a person should know and that stops nothing."""

    text: str


class Planning(Struct, frozen=True):
    """What is going to happen, before it does."""

    plan: "Plan"
    estimate: "Estimate"


class Done(Struct, frozen=True):
    """`done` of `total` bytes are dealt with in the step that runs."""

    done: int
    total: int


Event = Step | Note | Planning | Done | Download
Tell = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tells nobody."""
