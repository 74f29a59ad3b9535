"""Asking again: a person who repeats a question is heard, a program that repeats itself is not."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.classify import Facts
from freehold.config.schema import Config
from freehold.config.schema_routing import Labels, Sinks
from freehold.decide import Candidate, Deployment, Plan
from freehold.decide.decision import Ran
from freehold.decide.predict import Reading
from freehold.dialects.conversation import Conversation, Image, Text, Turn
from freehold.labels import INTERNAL, Label, Rules
from freehold.record.entries import Entry, Outcome
from freehold.record.readings import unpack
from freehold.serve.gateway import Gateway
from freehold.serve.learning import Learning, decided, in_words
from freehold.serve.repeats import MANY, MOST_KEPT, WINDOW, Repeats

LONG = "please summarise the report on the migration of our billing system in three short paragraphs for the board"


def said(*texts: str, system: str = "be brief") -> Conversation:
    turns = [Turn("user" if at % 2 == 0 else "assistant", [Text(text)]) for at, text in enumerate(texts)]
    return Conversation("auto", [Text(system)], turns)


class Worker:
    """Answers everything at once, and remembers which answers were asked for again."""

    def __init__(self) -> None:
        self.repeats = Repeats()
        self.now = 1000.0
        self.calls = 0

    def ask(self, conversation: Conversation, key: str = "bot", after: float = 10.0) -> str | None:
        self.now += after
        self.calls += 1
        asked = self.repeats.asked(key, conversation, self.now)
        if asked is None:
            return None
        self.repeats.answered(asked, f"call-{self.calls}", self.now)
        return asked.again


def test_the_same_again_is_a_word_about_the_earlier_answer() -> None:
    worker = Worker()
    assert worker.ask(said(LONG)) == ""
    assert worker.ask(said(LONG)) == "call-1"
    assert worker.ask(said(LONG)) == "call-2"


def test_nearly_the_same_is_the_same_and_other_numbers_are_not() -> None:
    worker = Worker()
    worker.ask(said(LONG))
    assert worker.ask(said(LONG + "!")) == "call-1"
    assert worker.ask(said(LONG.replace("three", "four"))) == "call-2"
    assert worker.ask(said("something else altogether, please, about the weather in the mountains")) == ""
    other = Worker()
    other.ask(said(f"{LONG} item 17"))
    assert other.ask(said(f"{LONG} item 18")) == ""


@pytest.mark.parametrize(
    "again",
    [
        {"conversation": said("hello", "hi", LONG)},
        {"conversation": said(LONG, system="be verbose")},
        {"conversation": said(LONG), "key": "other"},
        {"conversation": said(LONG), "after": WINDOW + 1},
    ],
)
def test_what_is_another_question(again: dict[str, Any]) -> None:
    worker = Worker()
    worker.ask(said(LONG))
    assert worker.ask(**again) == ""


def test_a_program_that_repeats_itself_is_no_reader() -> None:
    worker = Worker()
    marks = [worker.ask(said(LONG), after=1.0) for _ in range(30)]
    assert sum(bool(mark) for mark in marks) == MANY
    assert not any(marks[MANY + 1 :])


def test_questions_at_the_same_time_are_not_asked_again() -> None:
    repeats = Repeats()
    first, second = (repeats.asked("bot", said(LONG), 10.0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.again, second.again) == ("", "")


def test_what_has_more_than_words_is_not_looked_at() -> None:
    repeats = Repeats()
    pictured = Conversation("auto", turns=[Turn("user", [Text("what is this?"), Image("image/png", data="iVBO")])])
    assert repeats.asked("bot", pictured, 1.0) is None
    assert repeats.asked("bot", Conversation("auto"), 1.0) is None
    assert repeats.asked("bot", said("hello", "hi"), 1.0) is None
    assert repeats.asked("bot", said(""), 1.0) is None


def test_memory_is_bounded() -> None:
    worker = Worker()
    for number in range(MOST_KEPT + 50):
        worker.ask(said(LONG, system=str(number)), after=0.0)
    assert len(worker.repeats) == MOST_KEPT


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5))
def test_any_text_can_be_asked_and_asked_again(texts: list[str]) -> None:
    worker = Worker()
    first = worker.ask(said(*texts))
    again = worker.ask(said(*texts))
    spoken = len(texts) % 2 == 1 and bool(texts[-1])
    assert (first, again) == (("", "call-1") if spoken else (None, None))


def test_outcomes_go_into_the_journal() -> None:
    journal: list[Entry] = []
    learning = Learning(journal.append)
    learning.answered(learning.asked("bot", said(LONG), 1.0), "r1-1", 2.0)
    learning.answered(None, "r1-2", 2.0)
    assert learning.asked("bot", said(LONG), 3.0) is not None
    learning.schema("r2-1", broken=True)
    learning.schema("r3-1", broken=False)
    marks = [(one.about, one.source, one.value) for one in journal if isinstance(one, Outcome)]
    assert marks == [("r1-1", "retry", 0.0), ("r2-1", "schema", 0.0), ("r3-1", "schema", 1.0)]
    assert all(isinstance(one, Outcome) and abs(one.at - time.time_ns()) < 60e9 for one in journal)


SMALL = Deployment("own/small", "own", "small", "chat", owned=True)


def test_a_decision_is_written_down_in_figures_and_names() -> None:
    known = Facts("auto", frozenset({"tools", "schema"}), 120, 1024, limit=800)
    known.reading = Reading((0.5, -1.0), terms=3)
    plan = Plan(
        (SMALL,), "cheapest", (), (Candidate("own/small", 0.87654, 1.5e-6, 2e-6, 0.25, chance=0.98),), "auto",
        "cheapest", 0.98,
    )  # fmt: skip
    kept = decided(plan, known, ran=Ran("own/small", 64), predictor="61626364ff")
    assert kept is not None
    assert (kept.route, kept.propensity, kept.needs, kept.limit) == ("auto", 0.98, "schema,tools", 800)
    assert (kept.ran, kept.cached, kept.basis, unpack(kept.reading)) == ("own/small", 64, b"abcd", (0.5, -1.0))
    (one,) = kept.candidates
    assert (one.name, one.quality, one.price, one.latency, one.chance) == ("own/small", 8765, 1500, 250, 980_000)


def test_what_is_not_to_be_kept_is_not_kept() -> None:
    known = Facts("auto", frozenset(), 1, 1, reading=Reading((0.5,)))
    plan = Plan(
        (SMALL,), "cheapest", candidates=(Candidate("own/small", None, float("nan"), None, -1.0),), route="auto"
    )
    kept = decided(plan, known)
    assert kept is not None
    assert (kept.reading, kept.basis) == (b"", b"")
    (one,) = kept.candidates
    assert (one.quality, one.price, one.latency) == (None, None, None)
    assert decided(Plan((SMALL,), "asked for by name"), known, predictor="61626364ff") is None


def test_nothing_is_learned_of_what_may_not_flow_there() -> None:
    def learns(label: Label | None, **config: Any) -> bool:
        made = Config(**config)
        gateway: Any = SimpleNamespace(config=made, rulebook=SimpleNamespace(rules=Rules(made)))
        return Gateway.learns(gateway, label)

    assert [learns(label) for label in (Label(0), INTERNAL)] == [True, True]
    assert not any(learns(label) for label in (None, Label(2), Label(1, frozenset({"phi"}))))
    assert not learns(INTERNAL, learn=False)
    wider = Labels(sinks=Sinks(training="confidential"))
    assert [learns(Label(level), labels=wider) for level in range(4)] == [True, True, True, False]
    assert not learns(INTERNAL, labels=Labels(sinks=Sinks(training="public")))
    assert (in_words(None), in_words(INTERNAL)) == ("", "internal")
