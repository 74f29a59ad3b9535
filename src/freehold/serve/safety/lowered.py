"""What a conversation's mark was lowered to, kept beside the mark: written only by a turn that was lowered itself.

    name of the mark -> digest of the mark's label, the lowered label, how many values later turns must repeat, and
                        their fingerprint (check/pseudonyms/remembered.py)

It counts only while the mark is the very one it was written for. A mark that was raised since, or noted by a turn whose
label held, has none; neither has one whose entry was forgotten. Then the mark itself counts: nothing here can be lost
in a way that lowers a label.
"""

import hashlib
from collections.abc import Callable, Iterable

from freehold.check.pseudonyms import Remembered
from freehold.labels import Label, Rules
from freehold.serve.safety.marks import Marks

Holds = Callable[[Remembered], bool]
"""Whether the present turn repeats what an earlier one had."""
_NAME = b"lowered\0"
_MOST = 46


def left(marks: Marks, principal: str, names: Iterable[bytes], rules: Rules, holds: Holds, now: float) -> Label:
    """Returns the join of what the marks under these names were lowered to; of one that was not, the mark."""
    label = Label()
    for name in names:
        mark = marks.look(principal, (name,), rules, now)
        if mark is not None:
            label |= _left(marks, principal, name, mark, rules, holds)
    return label


def note(
    marks: Marks, principal: str, names: Iterable[bytes], rules: Rules, holds: Holds, label: Label,
    lowered: Label | None, remembered: Remembered, now: float,
) -> None:  # fmt: skip
    """Writes marks as `Marks.note` does, and what they were lowered to; None: this turn's label held.

    What another conversation of the same name, or an earlier turn, has left there stays joined in.
    """
    for name in names:
        below = lowered
        mark = None if below is None else marks.look(principal, (name,), rules, now)
        if below is not None and mark is not None:
            below |= _left(marks, principal, name, mark, rules, holds)
        marks.note(principal, (name,), label, rules, now)
        text = b"" if below is None or below == label else _written(label, below, remembered)
        if text or marks.kept(principal, _NAME + name):
            marks.keep(principal, _NAME + name, text, now)


def _left(marks: Marks, principal: str, name: bytes, mark: Label, rules: Rules, holds: Holds) -> Label:
    text = marks.kept(principal, _NAME + name)
    if not text:
        return mark
    try:
        digest, below, count, fingerprint = text.decode("ascii").split(">")
        if digest != _digest(mark) or not holds(Remembered(int(count), fingerprint)):
            return mark
        return rules.parse(below)
    except ValueError:
        return mark


def _written(label: Label, below: Label, remembered: Remembered) -> bytes:
    text = f"{_digest(label)}>{below}>{remembered.count}>{remembered.fingerprint}".encode()
    return text if len(text) <= _MOST else b""


def _digest(label: Label) -> str:
    return hashlib.blake2b(str(label).encode(), digest_size=4).hexdigest()
