"""What was found, as the journal has it: `email=allow,secret=label`, sorted, so the ledger keeps each such text once.

Made of what the client is told in `x-freehold-checks`, but for what only the client may read again: why placeholders
were not possible (`kept: ...`) names places of its request. In monitor mode nothing was done: `secret=would label`.
"""

from collections.abc import Iterable

from freehold.check.stream import Verdict
from freehold.serve.safety.checks import Checked, Count, done
from freehold.serve.safety.pseudonyms import DECLASSIFIER

_ANSWER = "answer "
"""What findings in an answer begin with, where the client is told of both."""


def in_request(checked: Checked, declassifier: str = "") -> str:
    """What was found in a request. `declassifier` is what lowered its label for whoever is asked, if anything did."""
    monitor, told = checked.ruling.monitor, checked.told
    if not told:
        return ""
    if checked.private and declassifier != DECLASSIFIER:
        told = tuple(one.replace("=pseudonymise", "=label") for one in told)
    return ",".join(sorted(_done(one, monitor=monitor) for one in told if " " not in one))


def in_answer(told: Iterable[str], *, monitor: bool) -> str:
    """What was found in an answer, of what the client is told."""
    return ",".join(_done(one.removeprefix(_ANSWER), monitor=monitor) for one in told if one.startswith(_ANSWER))


def told_of(verdicts: Iterable[Verdict]) -> list[str]:
    """What the client is told of an answer: `answer type=action` for each type."""
    return [f"{_ANSWER}{kind}={action}" for kind, action in _kinds(verdicts)]


def count_all(verdicts: Iterable[Verdict], count: Count, *, monitor: bool) -> None:
    """Counts what was found in an answer."""
    for kind, action in _kinds(verdicts):
        count("answer", kind, done(action, monitor=monitor))


def _kinds(verdicts: Iterable[Verdict]) -> list[tuple[str, str]]:
    return sorted({(verdict.type, verdict.action) for verdict in verdicts})


def _done(one: str, *, monitor: bool) -> str:
    kind, _, action = one.partition("=")
    return f"{kind}={done(action, monitor=monitor)}"
