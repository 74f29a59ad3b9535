"""What a mark was lowered to counts only for that mark, and nobody can lower another's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.check.pseudonyms import Remembered
from freehold.config.schema import Config
from freehold.labels import Label, Rules
from freehold.serve.safety import lowered
from freehold.serve.safety.marks import Marks

RULES = Rules(Config())
HIGH, LOW = RULES.parse("confidential+pci"), RULES.parse("internal")
NOW = 1e9
Note = Callable[..., None]


def fresh(before: Remembered) -> bool:
    return before.count == 0


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "marks")


NOTHING = Remembered()


def note(marks: Marks, label: Label, below: Label | None, name: bytes = b"n", again: Remembered = NOTHING) -> None:
    lowered.note(marks, "k", (name,), RULES, fresh, label, below, again, NOW)


def left(marks: Marks, *names: bytes) -> Label:
    return lowered.left(marks, "k", names or (b"n",), RULES, fresh, NOW)


def test_it_falls_by_the_turn_that_did_it(marks: Marks) -> None:
    assert left(marks) == Label()
    note(marks, HIGH, LOW)
    assert left(marks) == LOW
    assert marks.look("k", (b"n",), RULES, NOW) == HIGH
    assert lowered.left(marks, "other", (b"n",), RULES, fresh, NOW) == Label()
    marks.close()


@pytest.mark.parametrize("later", ["a held turn", "a higher mark", "a mark by somebody who knows nothing of it"])
def test_whatever_else_sets_the_mark_holds(marks: Marks, later: str) -> None:
    note(marks, HIGH, LOW)
    label = HIGH
    if later == "a held turn":
        note(marks, HIGH, None)
    else:
        label = RULES.parse("restricted+pci")
        marks.note("k", (b"n",), label, RULES, NOW)
    assert left(marks) == label
    note(marks, label, LOW)
    assert left(marks) == label, "no later turn can lower it again"
    marks.close()


def test_what_another_conversation_has_left_under_the_name_stays(marks: Marks) -> None:
    marks.note("k", (b"n",), HIGH, RULES, NOW)
    note(marks, HIGH, LOW)
    assert left(marks) == HIGH
    note(marks, HIGH, LOW, b"m")
    assert left(marks, b"n", b"m") == HIGH
    assert left(marks, b"m") == LOW
    marks.close()


def test_what_must_come_again_and_what_is_forgotten(marks: Marks) -> None:
    note(marks, HIGH, LOW, again=Remembered(2, "abcdefgh"))
    assert left(marks) == HIGH
    seen: list[Remembered] = []
    lowered.left(marks, "k", (b"n",), RULES, lambda before: bool(seen.append(before)), NOW)
    assert seen == [Remembered(2, "abcdefgh")]
    note(marks, HIGH, LOW, b"m")
    marks.keep("k", b"lowered\0m", b"garbage", NOW)
    assert left(marks, b"m") == HIGH
    note(marks, HIGH, RULES.parse("internal+phi+region:eu"), b"long", again=Remembered(999, "abcdefgh"))
    assert left(marks, b"long") == HIGH, "what does not fit is not kept"
    marks.close()
