"""What a request leaves behind to be learned from: how its route decided, and what its answer showed by itself.

Only requests that a route decided leave anything; one that names its model pays nothing. Everything is figures and
names: what is kept of the prompt is the predictor's reading, and of the most sensitive requests not even that
(`learn` in freehold.yaml).
"""

import time
from collections.abc import Callable
from functools import lru_cache

from freehold.classify import Facts
from freehold.decide import Plan
from freehold.decide.decision import Ran
from freehold.dialects.conversation import Conversation
from freehold.labels import Label
from freehold.record.entries import Decided, Entry, Outcome, Weighed
from freehold.record.outcomes import RETRY_WEIGHT
from freehold.record.readings import basis_of, pack
from freehold.serve.repeats import Asked, Repeats

MOST_DROPPED = 20
"""Candidates whose reasons are written down."""
SCHEMA_WEIGHT = 0.5
"""JSON that fits says something of an answer, not all; so both fitting and not fitting are written down."""


@lru_cache(256)
def in_words(label: Label | None) -> str:
    """A label as the journal has it; asked once a request, so each is put into words once."""
    return "" if label is None else str(label)


def decided(decision: Plan, known: Facts, *, ran: Ran | None = None, predictor: str | None = None) -> Decided | None:
    """Returns what the journal keeps of a decision, None where no route decided.

    `predictor` is the id of whose reading the facts hold; None: the reading is not to be kept (`Gateway.learns`).
    """
    if not decision.route:
        return None
    keep = predictor is not None and known.reading is not None
    basis, reading = (basis_of(predictor), pack(known.reading.z)) if keep and predictor is not None else (b"", b"")
    return Decided(
        decision.route,
        decision.propensity,
        decision.explored,
        known.kind,
        ",".join(sorted(known.needs)) if known.needs else "",
        known.input_tokens,
        known.output_tokens,
        known.limit,
        ran.deployment if ran is not None else "",
        ran.tokens if ran is not None else 0,
        basis,
        reading,
        [
            Weighed(
                one.name, _whole(one.quality, 1e4), _whole(one.dollars, 1e9), _whole(one.seconds, 1e3),
                round(one.chance * 1e6),
            )
            for one in decision.candidates
        ],
        [(drop.deployment, drop.reason[:200]) for drop in decision.dropped[:MOST_DROPPED]],
    )  # fmt: skip


def _whole(value: float | None, scale: float) -> int | None:
    return round(value * scale) if value is not None and 0 <= value * scale < 2**53 else None


class Learning:
    """Of one worker: outcomes that answers show by themselves, into its journal through `append`."""

    def __init__(self, append: Callable[[Entry], None], repeats: Repeats | None = None) -> None:
        self._append = append
        self._repeats = repeats or Repeats()

    def asked(self, key: str, conversation: Conversation, now: float) -> Asked | None:
        """Call it once a request of a route is going to be answered. `now` is loop time in seconds.

        Where it asks for an answer again, that answer gets a weak bad mark. Hand the result to `answered`.
        """
        asked = self._repeats.asked(key, conversation, now)
        if asked is not None and asked.again:
            self._append(Outcome(asked.again, "retry", 0.0, RETRY_WEIGHT, time.time_ns()))
        return asked

    def answered(self, asked: Asked | None, call: str, now: float) -> None:
        """The request has been answered whole, by `call`."""
        if asked is not None:
            self._repeats.answered(asked, call, now)

    def schema(self, call: str, *, broken: bool) -> None:
        """An answer that was held to a JSON schema, by a route's choice, is JSON or is not."""
        self._append(Outcome(call, "schema", 0.0 if broken else 1.0, SCHEMA_WEIGHT, time.time_ns()))
