"""Similar questions: the same answer to a question that was asked in other words, where calibration has shown that to
be safe (similar.py; docs/caching.md says what it does not see).

Two requests are compared only if everything but the text of the last user message is the same: that text is taken out
of the body, and what is left, with all else that goes into a key, names the group. Only groups of one partition are
looked at, since tenant and label are in that name; and the answer itself is read by its own key, whose seal is compared
like that of any other (record/cache.py).

What questions are compared by is kept beside their answers: bits chosen under the store's secret, never words.
"""

import time
from collections.abc import Callable
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Final

import msgspec

from freehold.call.talk import Talk
from freehold.dialects.conversation import Conversation, Text
from freehold.errors import ConfigError, InternalError
from freehold.home import home, write_private
from freehold.serve.cache.key import Key, inner_key
from freehold.serve.cache.life import CacheLife
from freehold.serve.cache.similar import Calibration, Index, made_of, watched, written
from freehold.serve.cache.words import BY, Words

if TYPE_CHECKING:
    from freehold.serve.cache.ticket import Ticket
    from freehold.serve.gateway import Gateway

FILE: Final = "similar.json"
"""In the cache's folder: calibrations by name."""
MOST_GROUPS: Final = 64
"""Groups whose questions a worker has in memory."""
_CALIBRATIONS = msgspec.json.Decoder(dict[str, Calibration])


def calibrations(folder: Path) -> dict[str, Calibration]:
    """Returns the calibrations by name, none where the file is not there. Raises ConfigError for one that is broken."""
    path = folder / FILE
    try:
        return _CALIBRATIONS.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"calibrations cannot be read: {error}", where=str(path), hint=_HINT) from error


def save_calibration(folder: Path, made: Calibration) -> None:
    """Puts a calibration in the place of the one before it. Raises OSError, ConfigError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / FILE, msgspec.json.encode({**calibrations(folder), made.name: made}))


_HINT: Final = "freehold cache calibrate --route NAME --data pairs.jsonl"


class Semantic:
    """The semantic cache under one configuration."""

    def __init__(self, gateway: "Gateway", life: CacheLife, names: list[str]) -> None:
        """`names` are those that want it. Raises ConfigError where one has no calibration: nothing is guessed."""
        self.settings = settings = gateway.config.cache.semantic
        self._life = life
        self._words = Words(life.store.secret)
        found = calibrations(home() / "cache")
        self._calibrated: dict[str, Calibration] = {}
        for name in names:
            one = found.get(name)
            if one is None or not one.holds(BY, settings.false_hits, settings.confidence):
                why = f"{_why(one)} ({_HINT})"
                raise ConfigError(why, key=f"cache.routes.{name}.semantic", hint=_HINT)
            self._calibrated[name] = one
        self._indices: dict[bytes, Index] = {}
        self._chance: Callable[[], float] = random

    async def look(self, ticket: "Ticket", key: Key) -> bool:
        """Answers with the answer to a similar question where it may: then the ticket is served."""
        calibrated = self._calibrated.get(ticket.asked)
        operation = ticket.operation
        if calibrated is None or calibrated.threshold is None or not isinstance(operation, Talk):
            return False
        text = question(operation.conversation)
        place = inner_key(self._life.store.secret, key, text) if text else None
        if text is None or place is None:
            return False
        looked = self._words.look(text)
        if looked is None:
            return False
        ticket.question = place, written(looked)
        index = self._index(place)
        found = index.nearest(looked, calibrated.threshold)
        if found is None or not self._open(calibrated):
            return False
        digest = found[1]
        held = await self._life.find(digest, ticket.partition)
        if held is None:
            index.forget(digest)
            return False
        if self._chance() < self.settings.explore:
            ticket.explore(held, calibrated)
            return False
        now = time.time()
        if ticket.oldest is not None and now - held.made >= ticket.oldest:
            return False
        if not await ticket.serve(held, "similar", now):
            return False
        self._life.hit(digest, now)
        return True

    def _open(self, calibrated: Calibration) -> bool:
        """Whether what was calibrated still holds, as far as anybody knows."""
        try:
            watch = watched(self._life.store.watch(calibrated.name))
        except (InternalError, msgspec.DecodeError):
            return False
        return not watch.alarm or watch.made != made_of(calibrated)

    def _index(self, place: bytes) -> Index:
        index = self._indices.pop(place, None)
        if index is None or index.size > 2 * self.settings.entries:
            index = Index()
            while len(self._indices) >= MOST_GROUPS:
                self._indices.pop(next(iter(self._indices)))
        self._indices[place] = index  # the one used last stands last
        rows = self._life.store.questions(place, index.last, self.settings.entries, time.time())
        if rows:
            index.add(rows)
        return index


def question(conversation: Conversation) -> str | None:
    """Returns the text that may be said in other words: that of the last message, if it is the user's and nothing else
    stands in it."""
    if not conversation.turns:
        return None
    last = conversation.turns[-1]
    if last.role != "user" or len(last.parts) != 1 or not isinstance(last.parts[0], Text):
        return None
    return last.parts[0].text or None


def _why(one: Calibration | None) -> str:
    if one is None:
        return "similar questions get the same answer only where it was calibrated how similar they must be"
    if one.threshold is None:
        return "calibration has shown no likeness to be safe"
    if one.by != BY:
        return f"it was calibrated for another way of telling likeness ({one.by})"
    return f"calibration has shown at most {one.false_hits:.2%} wrong answers with confidence {one.confidence:g}"
