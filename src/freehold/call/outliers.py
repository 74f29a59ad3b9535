"""Deployments that do worse than they should: who stands back behind the others, and for how long.

A breaker sees failures in a row: a dead deployment. One that fails every other call, or has become many times slower
than it was, is alive, and for a group of one it is still the best there is. So it is not dropped but put last: the
others of the plan are asked before it. After a while, which grows with repeats as a breaker's does, one call tries it
first again.

failing   at least `share` of the calls of the last `RECENT` seconds failed, of `volume` at least. From `DEAD` on it is
          no outlier but dead, and its breaker opens, whatever the group.
slow      its first content takes `SLOWER` times as long as it used to, and `NOTICED` seconds more. It is compared with
          itself: in a group that was ranked by price or quality, slower than the others may be what it is.

Where more than `MOST` of a group would stand back nobody does: then it is not they who differ (Envoy calls that panic).

Only a failure looks at the window, and marks in it are made by failures alone: a success costs one addition.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.call.target import Target

RECENT = 30.0
"""Seconds."""
DEAD = 0.9
SLOWER = 4.0
NOTICED = 1.0
MOST = 0.5
_MARKS = 10
"""Of a window: counts are kept by its tenths."""


class Window:
    """The share of failures among recent calls."""

    __slots__ = ("_marks", "_recent")

    def __init__(self, recent: float = RECENT) -> None:
        self._recent = recent
        self._marks: deque[tuple[float, int, int]] = deque()
        """(when, answered and failed before), once in a tenth of the window at most."""

    def failed(self, now: float, answered: int, failed: int) -> tuple[float, int]:
        """Returns (share of failures, calls) since the first failure of the window. Called after each failure, with
        the counts since the start, this failure included."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= self._recent / _MARKS:
            marks.append((now, answered, failed - 1))
        while marks[0][0] <= now - self._recent:
            marks.popleft()
        _, answered_before, failed_before = marks[0]
        bad = failed - failed_before
        calls = bad + answered - answered_before
        return bad / calls, calls


def arranged(targets: Sequence["Target"], now: float) -> Sequence["Target"]:
    """`targets` with those last that stand back now, unless that are too many."""
    back = [target for target in targets if target.watch.outlier.tripped and target.watch.outlier.blocks(now)]
    if not back or len(back) > MOST * len(targets):
        return targets
    return [target for target in targets if target not in back] + back
