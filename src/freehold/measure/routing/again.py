"""A past request, decided again: what the ledger kept of it, turned back into facts, and given to the code that routes.

This is the one place where the measuring of policies and the making of decisions meet. What a decision saw of the world
is gone, and is stood in for:

    health, limits, budgets   everybody is well, nothing is used up
    speed                     the medians of each deployment's own calls in the ledger
    quality                   foreseen from the reading, where it is of the predictor's basis; else what was predicted
                              then, and of a deployment that was no candidate its declared strength
    what requests said        their headers are not kept: objectives, pins and roles are those of route and key
    chance                    exploration is off; a split draws with a seed
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import structs

from freehold.classify.facts import Facts
from freehold.decide import Catalog, Choice, Deployment, Plan, Policy, World, plan
from freehold.decide.decision import Ran
from freehold.decide.floor import Gate
from freehold.decide.predict import Reading
from freehold.decide.signals import NOTHING, Signals
from freehold.decide.world import Denied, Foresight
from freehold.record.outcomes import Past
from freehold.record.readings import unpack

KINDS = {
    "completions": "completions",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "moderations": "moderations",
    "images": "image_generation",
    "speech": "speech",
    "transcription": "transcription",
}
"""Of requests that no route decided, by what the client spoke; everything else is a conversation."""


class Book(Protocol):
    """The rules that are tried."""

    @property
    def catalog(self) -> Catalog:
        """What can be asked for."""

    @property
    def foresight(self) -> Foresight:
        """What is predicted."""

    @property
    def basis(self) -> bytes:
        """Of the readings that `foresight` understands (record/readings.py)."""

    def policy(self, choice: Choice, key: str) -> Policy:
        """What is in force for a key's requests to a route."""

    def denied(self, key: str, label: str, facts: Facts, now: float) -> Denied:
        """What a key's request may not be sent to; fills in the label of `facts`. `now` is Unix time in seconds."""

    def refused(self, key: str, asked: str) -> str | None:
        """Why a key may not ask for a name, None when it may."""


class Again:
    """Decides past requests under the rules of `book`."""

    def __init__(
        self, book: Book, speeds: Mapping[str, Signals] | None = None, *, seed: int = 0, ask: str | None = None
    ) -> None:
        """`ask`: what every conversation asks for, instead of what it did."""
        self._book = book
        self._speeds = speeds or {}
        self._chance: Callable[[], float] = random.Random(seed).random  # noqa: S311  a draw, not a secret
        self._ask = ask

    def plan(self, past: Past) -> tuple[Plan | None, str]:
        """Returns the plan, or None and why there is none before anybody is looked at."""
        facts = facts_of(past, self._book.basis)
        asked = self._ask if self._ask is not None and facts.kind == "chat" else past.asked
        facts.asked = asked
        if (refused := self._book.refused(past.key, asked)) is not None:
            return None, refused
        choice = self._book.catalog.find(asked)
        if choice is None:
            return None, f"there is no model {asked!r}"
        now = past.at / 1e9
        decision = past.decision
        world = World(
            denied=self._book.denied(past.key, past.label, facts, now),
            seen=lambda deployment: self._speeds.get(deployment.name, NOTHING),
            foresight=Remembered(self._book.foresight, past),
            ran=Ran(decision.ran, decision.cached) if decision is not None and decision.ran else None,
            now=now,
            chance=self._chance,
        )
        policy = self._book.policy(choice, past.key)
        return plan(facts, choice, world, structs.replace(policy, explore=None)), ""

    def quality(self, past: Past, name: str) -> float | None:
        """What is foreseen of the answer of a deployment; None for one that is unknown here and was no candidate, and
        for requests of which nothing was kept to foresee from."""
        decision = past.decision
        if decision is None:
            return None
        facts = facts_of(past, self._book.basis)
        deployment = self._book.catalog.deployments.get(name)
        if facts.reading is not None and deployment is not None:
            return self._book.foresight.quality(facts, [deployment])[0]
        return next((one.quality for one in decision.candidates if one.name == name), None)


class Remembered:
    """Implements `decide.world.Foresight` for one past request."""

    def __init__(self, foresight: Foresight, past: Past) -> None:
        self._foresight = foresight
        self._past = past

    def quality(self, facts: Facts, deployments: Sequence[Deployment]) -> Sequence[float]:
        """From the reading, or as it was predicted then."""
        if facts.reading is not None or self._past.decision is None:
            return self._foresight.quality(facts, deployments)
        then = {one.name: one.quality for one in self._past.decision.candidates}
        qualities = (then.get(one.name) for one in deployments)
        return [one.strength if known is None else known for one, known in zip(deployments, qualities, strict=True)]

    def gate(self, floor: float, confidence: float, route: str) -> Gate:
        """As `foresight` has it."""
        return self._foresight.gate(floor, confidence, route)


def facts_of(past: Past, basis: bytes) -> Facts:
    """What was known of a request when it came; where no route decided, what its usage says."""
    decision = past.decision
    if decision is None:
        tokens = past.uncached + past.cached + past.written or past.held
        output = max(past.output, past.held - tokens)
        return Facts(past.asked, frozenset(), tokens, output, past.stream, KINDS.get(past.dialect, "chat"))
    known = Facts(
        past.asked, decision.needs, decision.input, decision.output, past.stream, decision.kind, decision.limit
    )
    if decision.reading and decision.basis == basis:
        known.reading = Reading(unpack(decision.reading))
    return known
