"""The rules of a script: which one answers a request. They remember how often they were met and have answered."""

from fnmatch import fnmatchcase
from random import Random

from msgspec import Struct

from freehold.fake import wants
from freehold.fake.ask import Ask, Request
from freehold.fake.script import Match, Rule


class _Turn(Struct):
    """A rule's memory: how often it matched and how often it answered."""

    met: int = 0
    used: int = 0


class Rules:
    """Tried in order; `random` draws what is left to chance."""

    def __init__(self, rules: list[Rule], random: Random) -> None:
        self._rules = rules
        self._turns = [_Turn() for _ in rules]
        self._random = random

    def pick(self, ask: Ask) -> Rule | None:
        """The rule that answers, None where none does."""
        for rule, turn in zip(self._rules, self._turns, strict=True):
            if rule.times is not None and turn.used >= rule.times:
                continue
            if not matches(rule.match, ask):
                continue
            turn.met += 1
            if rule.match.nth is not None and rule.match.nth != turn.met:
                continue
            if rule.match.probability is not None and self._random.random() >= rule.match.probability:
                continue
            turn.used += 1
            return rule
        return None


def matches(match: Match, ask: Ask) -> bool:
    """Tells whether all conditions hold but `nth` and `probability`, which need memory."""
    request = ask.request
    if match.dialect is not None and match.dialect != ask.route.dialect:
        return False
    if match.path is not None and not fnmatchcase(request.url.decode("latin-1").partition("?")[0], match.path):
        return False
    if match.model is not None and not fnmatchcase(ask.model, match.model):
        return False
    if match.stream is not None and match.stream != ask.stream:
        return False
    if match.header is not None and not _has(request, match.header):
        return False
    return match.contains is None or match.contains.lower() in wants.last_user(ask).lower()


def _has(request: Request, wanted: str) -> bool:
    name, colon, value = wanted.partition(":")
    found = request.headers.get(name.strip().lower().encode("latin-1"))
    return found is not None and (not colon or found.decode("latin-1").strip() == value.strip())
