"""High-water marks: kept by key and conversation, over restarts, and never lower than they were."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema import Config
from freehold.dialects.conversation import Conversation, Text, Turn
from freehold.errors import InternalError
from freehold.labels import Label, Rules
from freehold.labels.lattice import HIGHEST
from freehold.serve.safety import marks
from freehold.serve.safety.marks import Marks, names_of

RULES = Rules(Config())
NOW = 1.8e9


def talk(*said: str, system: str = "be") -> Conversation:
    turns = [Turn("user" if n % 2 == 0 else "assistant", [Text(text)]) for n, text in enumerate(said)]
    return Conversation("m", system=[Text(system)], turns=turns)


def test_a_mark_is_found_by_the_next_turn_by_other_workers_and_after_a_restart(tmp_path: Path) -> None:
    first, other = Marks(tmp_path / "marks"), Marks(tmp_path / "marks")
    assert not first.any("a")
    label = RULES.parse("confidential+pci")
    first.note("a", names_of(None, talk("hi", "hello", "more")).note, label, RULES, NOW)
    later = names_of(None, talk("hi", "hello")).look
    for table in (first, other):
        assert table.any("a")
        assert table.look("a", later, RULES) == label
        assert table.look("b", later, RULES) is None
        table.close()
    again = Marks(tmp_path / "marks")
    assert again.look("a", later, RULES) == label
    again.close()


def test_who_only_begins_alike_is_another_conversation(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    table.note("a", names_of(None, talk("hi", "hello 1", "a secret")).note, RULES.parse("restricted"), RULES, NOW)
    for other in (talk("hi"), talk("hi", "hello 2", "x"), talk("hi", "hello 1", "x", system="other")):
        assert table.look("a", names_of(None, other).look, RULES) is None
    table.note("a", names_of(None, talk("psst")).note, RULES.parse("restricted"), RULES, NOW)
    assert table.look("a", names_of(None, talk("psst")).look, RULES) is None, "its own words are looked at again anyway"
    assert table.look("a", names_of(None, talk("psst", "yes?", "x")).look, RULES) is not None
    table.close()


def test_what_the_client_calls_it_counts_besides(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    table.note("a", names_of(b"s1", talk("one", "two", "three")).note, RULES.parse("restricted"), RULES, NOW)
    assert table.look("a", names_of(b"s1", talk("else")).look, RULES) is not None
    assert table.look("a", names_of(b"s2", talk("one", "two", "x")).look, RULES) is not None
    assert table.look("a", names_of(b"s2", None).look, RULES) is None
    table.close()


def test_what_cannot_be_read_is_the_highest(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    names = names_of(b"s1", None)
    table.note("a", names.note, Label(1, frozenset({"a-compartment-that-is-gone"})), RULES, NOW)
    found = table.look("a", names.look, RULES)
    assert found is not None
    assert found.level == HIGHEST
    long = Label(1, frozenset(f"a-long-compartment-{n}" for n in range(5)))
    table.note("a", names.note, long, RULES, NOW)
    assert table.look("a", names.look, RULES) == Label(HIGHEST, RULES.compartments)
    table.close()


def test_a_mark_is_never_lowered(tmp_path: Path) -> None:
    """Two conversations that begin alike share a name until their first answer: the second must not lower the first."""
    table = Marks(tmp_path / "marks")
    asked = names_of(None, talk("psst"))
    table.note("a", asked.note, RULES.parse("restricted+phi"), RULES, NOW)
    table.note("a", asked.note, RULES.parse("confidential+pci"), RULES, NOW)
    found = table.look("a", names_of(None, talk("psst", "yes?", "x")).look, RULES, NOW)
    assert found == RULES.parse("restricted+phi+pci")
    table.close()


def test_what_is_given_up_is_said_of_its_bucket_until_it_ages_out(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks", buckets=1)
    label = RULES.parse("restricted+phi")
    table.note("a", (b"first",), label, RULES, NOW)
    assert table.look("a", (b"never seen",), RULES, NOW) is None
    for number in range(marks.WAYS):
        table.note("a", (b"%d" % number,), RULES.parse("confidential"), RULES, NOW + 60)
    assert table.look("a", (b"first",), RULES, NOW + 60) == label
    assert table.look("a", (b"never seen",), RULES, NOW + 60) == label, "nobody knows whether it was the one"
    assert table.look("b", (b"first",), RULES, NOW + 60) is None
    assert table.look("a", (b"never seen",), RULES, NOW + marks.LIFE + 120) is None
    assert table.look("a", (b"6",), RULES, NOW + marks.LIFE + 120) == RULES.parse("confidential"), "it is still there"
    table.close()


def test_a_mark_that_nobody_used_makes_room(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks", buckets=1)
    table.note("a", (b"old",), RULES.parse("restricted"), RULES, NOW)
    later = NOW + marks.LIFE + 60
    for number in range(marks.WAYS):
        table.note("a", (b"%d" % number,), RULES.parse("confidential"), RULES, later)
    assert table.look("a", (b"old",), RULES, later) is None
    table.close()


def test_what_is_kept_beside_the_marks_gives_way_to_them(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks", buckets=1)
    table.keep("a", b"c", b"words", NOW)
    assert table.kept("a", b"c") == b"words"
    assert table.look("a", (b"c",), RULES, NOW) is None
    for number in range(marks.WAYS):
        table.note("a", (b"%d" % number,), RULES.parse("restricted"), RULES, NOW)
    assert table.kept("a", b"c") is None
    assert table.look("a", (b"other",), RULES, NOW) is None, "no mark was lost"
    table.keep("a", b"c", b"words", NOW)
    assert table.kept("a", b"c") is None, "no mark is given up for it"
    assert table.look("a", (b"other",), RULES, NOW) is None
    with pytest.raises(ValueError, match="46 bytes"):
        table.keep("a", b"c", bytes(47), NOW)
    table.close()


def test_what_cannot_be_remembered_is_an_error(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    (tmp_path / "marks.d").write_text("no folder")
    with pytest.raises(InternalError, match="labels of conversations") as caught:
        table.note("a", (b"x",), RULES.parse("restricted"), RULES, NOW)
    assert caught.value.status == 503
    table.close()


def test_a_torn_mark_is_the_highest(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks", buckets=1)
    table.note("a", (b"x",), RULES.parse("confidential"), RULES, NOW)
    (path,) = (tmp_path / "marks.d").iterdir()
    content = bytearray(path.read_bytes())
    content[content.index(b"confidential")] ^= 1
    path.write_bytes(content)
    assert table.look("a", (b"x",), RULES, NOW) == Label(HIGHEST, RULES.compartments)
    table.close()


def test_a_table_that_was_never_begun_is_none(tmp_path: Path) -> None:
    """A writer that is killed over it leaves an empty file; the next one begins it."""
    table = Marks(tmp_path / "marks", buckets=2)
    table.note("a", (b"x",), RULES.parse("confidential"), RULES, NOW)
    (path,) = (tmp_path / "marks.d").iterdir()
    table.close()
    path.write_bytes(b"")
    again = Marks(tmp_path / "marks", buckets=2)
    assert again.look("a", (b"x",), RULES, NOW) is None
    again.note("a", (b"x",), RULES.parse("restricted"), RULES, NOW)
    assert again.look("a", (b"x",), RULES, NOW) == RULES.parse("restricted")
    again.close()


LABELS = [RULES.parse(text) for text in ("confidential", "restricted", "internal+phi", "confidential+pci+region:eu")]
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.sampled_from(LABELS), st.integers(0, 86_400)), max_size=60
)


@given(STEPS)
def test_nothing_is_forgotten_and_nobody_suffers_for_another(steps: list[tuple[str, int, Label, int]]) -> None:
    """In tables of 14 marks: whatever was noted within `LIFE` is found, at least as high; and what one key looks up
    does not depend on what another has noted."""
    with TemporaryDirectory() as folder:
        both, alone = Marks(Path(folder, "both"), buckets=2), Marks(Path(folder, "alone"), buckets=2)
        alone._secret = both._secret  # else the same names fall into other buckets
        noted: dict[tuple[str, int], tuple[Label, float]] = {}
        now = NOW
        for principal, name, label, pause in steps:
            now += pause
            both.note(principal, (b"%d" % name,), label, RULES, now)
            if principal == "a":
                alone.note(principal, (b"%d" % name,), label, RULES, now)
            before = noted.get((principal, name), (Label(), 0.0))[0]
            noted[principal, name] = before | label, now
            for (who, which), (least, when) in noted.items():
                if now - when < marks.LIFE - 60:
                    found = both.look(who, (b"%d" % which,), RULES, now)
                    assert found is not None
                    assert least <= found
        for name in range(41):
            assert both.look("a", (b"%d" % name,), RULES, now) == alone.look("a", (b"%d" % name,), RULES, now)
        both.close()
        alone.close()


@pytest.mark.parametrize(
    "roles",
    [("user", "assistant"), ("user", "user"), ("assistant", "user"), ("system", "user"), ("system",), ("user",)],
)
def test_no_conversation_is_nameless_whoever_is_said_to_have_spoken(roles: tuple[str, ...]) -> None:
    said = Conversation("m", turns=[Turn(role, [Text(f"words of {role} {n}")]) for n, role in enumerate(roles)])  # type: ignore[arg-type]
    more = Conversation("m", turns=[*said.turns, Turn("user", [Text("so")]), Turn("user", [Text("go on")])])
    assert names_of(None, said).note
    if "user" in roles or "assistant" in roles:
        assert set(names_of(None, said).note) & set(names_of(None, more).look)
