"""What a request is, as facts: what it needs, how big it is, how hard it looks. Pure, and well under a millisecond."""

from freehold.classify.difficulty import Difficulty, difficulty
from freehold.classify.facts import Facts, facts

__all__ = ["Difficulty", "Facts", "difficulty", "facts"]
