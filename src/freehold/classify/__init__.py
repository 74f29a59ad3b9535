"""What a request is, as facts: what it needs, how big it is, how sensitive. Pure, and well under a millisecond."""

from freehold.classify.facts import Facts, facts

__all__ = ["Facts", "facts"]
