"""High-water marks: kept by key and conversation, over restarts, and never lower than they were."""

from pathlib import Path

from freehold.config.schema import Config
from freehold.dialects.conversation import Conversation, Text, Turn
from freehold.labels import Label, Rules
from freehold.labels.lattice import HIGHEST
from freehold.serve import marks
from freehold.serve.marks import Marks, names_of

RULES = Rules(Config())


def talk(*said: str, system: str = "be") -> Conversation:
    turns = [Turn("user" if n % 2 == 0 else "assistant", [Text(text)]) for n, text in enumerate(said)]
    return Conversation("m", system=[Text(system)], turns=turns)


def test_a_mark_is_found_by_the_next_turn_by_other_workers_and_after_a_restart(tmp_path: Path) -> None:
    first, other = Marks(tmp_path / "marks"), Marks(tmp_path / "marks")
    assert not first.any("a")
    label = RULES.parse("confidential+pci")
    first.note("a", names_of(None, talk("hi", "hello", "more")).note, label, 1e9)
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
    table.note("a", names_of(None, talk("hi", "hello 1", "a secret")).note, RULES.parse("restricted"), 1e9)
    for other in (talk("hi"), talk("hi", "hello 2", "x"), talk("hi", "hello 1", "x", system="other")):
        assert table.look("a", names_of(None, other).look, RULES) is None
    table.note("a", names_of(None, talk("psst")).note, RULES.parse("restricted"), 1e9)
    assert table.look("a", names_of(None, talk("psst")).look, RULES) is None, "its own words are looked at again anyway"
    assert table.look("a", names_of(None, talk("psst", "yes?", "x")).look, RULES) is not None
    table.close()


def test_what_the_client_calls_it_counts_besides(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    table.note("a", names_of(b"s1", talk("one", "two", "three")).note, RULES.parse("restricted"), 1e9)
    assert table.look("a", names_of(b"s1", talk("else")).look, RULES) is not None
    assert table.look("a", names_of(b"s2", talk("one", "two", "x")).look, RULES) is not None
    assert table.look("a", names_of(b"s2", None).look, RULES) is None
    table.close()


def test_what_cannot_be_read_is_the_highest(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    names = names_of(b"s1", None)
    table.note("a", names.note, Label(1, frozenset({"a-compartment-that-is-gone"})), 1e9)
    found = table.look("a", names.look, RULES)
    assert found is not None
    assert found.level == HIGHEST
    long = Label(1, frozenset(f"a-long-compartment-{n}" for n in range(5)))
    table.note("a", names.note, long, 1e9)
    assert table.look("a", names.look, RULES) == Label(HIGHEST, RULES.compartments)
    table.close()


def test_a_full_bucket_gives_up_the_oldest(tmp_path: Path) -> None:
    table = Marks(tmp_path / "marks")
    label = RULES.parse("restricted")
    for number in range(marks.SLOTS // 16):
        table.note("a", (b"%d" % number,), label, 60.0 * number)
    newest = [b"%d" % number for number in range(marks.SLOTS // 16 - 1000, marks.SLOTS // 16)]
    assert all(table.look("a", (name,), RULES) == label for name in newest)
    table.close()
