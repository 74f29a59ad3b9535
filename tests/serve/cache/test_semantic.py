"""Similar questions: what is alike, what never is, what calibration proves, and the whole way through a gateway."""

import json
import random
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from hypothesis import given
from hypothesis import strategies as st
from running import KEY, clean_environment

from freehold.dialects.conversation import Choice, Reply, Text
from freehold.errors import ConfigError
from freehold.serve.cache.similar import Index, Watched, calibrated, differ, written
from freehold.serve.cache.trials import Pair, read_rows, trials_of
from freehold.serve.cache.words import Looked, Words, alike

WORDS = Words(b"secret")


def look(text: str) -> Looked:
    looked = WORDS.look(text)
    assert looked is not None
    return looked


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Can I pay with this card?", "Can't I pay with this card?"),
        ("Send 10 euros to the shop", "Send 100 euros to the shop"),
        ("What does Anna owe me?", "What does Otto owe me?"),
        ("When is my card delivered?", "How is my card delivered?"),
        ("explain `a + b`", "explain `a - b`"),
        ("the meeting on 2027-01-31", "the meeting on 2027-01-30"),
        ("write to a@example.org", "write to b@example.org"),
        ("is order X12 there", "is order X13 there"),
        ("it will do no harm", "it will do harm"),
    ],
)  # fmt: skip
def test_what_turns_an_answer_around_is_never_alike(one: str, other: str) -> None:
    assert alike(look(one), look(other)) == 0.0


def test_other_words_for_the_same_are_alike_and_other_things_are_not() -> None:
    question = look("How do I activate my new card?")
    assert alike(question, look("How do I activate the new card")) > 0.7
    assert alike(question, look("How do I cook a potato?")) < 0.3


@given(st.text(max_size=300), st.text(max_size=300))
def test_likeness_is_between_none_and_all_and_symmetric(one: str, other: str) -> None:
    first, second = WORDS.look(one), WORDS.look(other)
    if first is None or second is None:
        return
    assert alike(first, first) == 1.0
    assert 0.0 <= alike(first, second) == alike(second, first) <= 1.0


@given(st.lists(st.text("abc de", min_size=3, max_size=20), min_size=1, max_size=20), st.text("abc de", max_size=20))
def test_the_index_finds_what_looking_at_all_finds(texts: list[str], asked: str) -> None:
    looked = [one for text in texts if (one := WORDS.look(text)) is not None]
    question = WORDS.look(asked)
    if question is None:
        return
    index = Index()
    index.add([(n, n.to_bytes(8, "big"), written(one)) for n, one in enumerate(looked, 1)])
    for threshold in (0.3, 0.5, 0.8, 1.0):
        best = max((alike(question, one) for one in looked), default=0.0)
        found = index.nearest(question, threshold)
        assert (found is None) == (best < threshold)
        if found is not None:
            assert found[0] == best
            assert alike(question, looked[int.from_bytes(found[1], "big") - 1]) == best


def certified(trials: list[tuple[float, bool]], target: float = 0.05) -> Any:
    return calibrated(trials, name="faq", by="words", false_hits=target, confidence=0.95, made="", source="")


def test_calibration_takes_the_least_likeness_that_is_shown_to_be_safe() -> None:
    draw = random.Random(3)
    likenesses = [draw.random() for _ in range(5000)]
    made = certified([(one, one < 0.6 and draw.random() < 0.5) for one in likenesses])
    assert made.threshold is not None
    assert 0.5 < made.threshold < 0.62
    assert made.bound <= 0.05


def test_calibration_refuses_where_nothing_can_be_shown() -> None:
    draw = random.Random(4)
    assert certified([(draw.random(), draw.random() < 0.5) for _ in range(2000)]).threshold is None
    with pytest.raises(ConfigError, match="pairs that could be hits"):
        certified([(0.9, False)] * 20)


def test_an_unsafe_threshold_is_accepted_as_rarely_as_promised() -> None:
    """Half of all answers are just over the target: what is accepted then is an error."""
    wrong = 0
    for seed in range(200):
        draw = random.Random(seed)
        trials = [(draw.random(), draw.random() < 0.052) for _ in range(1500)]
        wrong += certified(trials).threshold is not None
    assert wrong <= 20  # 5 % of 200 is 10; twice that has a chance below 0.2 %


def test_rows_of_either_form(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "one card", "b": "one card", "same": true}\n\n{"a": "x y", "b": "p q", "same": false}\n')
    rows = read_rows(path)
    assert rows[0] == Pair("one card", "one card", True)
    assert [trial.wrong for trial in trials_of(rows)] == [False, True]
    path.write_text('{"text": "one", "answer": "1"}\n{"a": "x", "b": "y", "same": false}\n')
    with pytest.raises(ConfigError) as told:
        read_rows(path)
    assert told.value.where.endswith(":2")
    with pytest.raises(ConfigError):
        read_rows(tmp_path / "none")


def test_the_watch_closes_when_too_many_differ_and_only_then() -> None:
    draw = random.Random(5)
    quiet, loud = Watched(), Watched()
    for _ in range(600):
        quiet = quiet.compare("c", draw.random() < 0.1, 0.2)
        loud = loud.compare("c", draw.random() < 0.5, 0.2)
    assert not quiet.alarm
    assert loud.alarm
    assert not loud.compare("another calibration", True, 0.2).alarm


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        ("It takes 3 days.", "it takes 3  days", False),
        ("It takes 3 days.", "It takes 5 days.", True),
        ("Your card comes by post within a week", "Your card will come by post within a week.", False),
        ("Your card comes by post within a week", "Ask at the counter of any branch", True),
        ('{"a": 1}', '{"a": 2}', True),
    ],
)
def test_answers_are_compared_by_what_they_say(one: str, other: str, different: bool) -> None:
    first, second = (Reply("", "", [Choice([Text(text)])]) for text in (one, other))
    assert differ(first, second) is different


# Through a gateway

EXTRA = """\
  - {name: one, key: fh-one-0123456789abcd}
  - {name: two, key: fh-two-0123456789abcd}
models: {faq: [openai/say]}
cache:
  enabled: true
  semantic: {explore: EXPLORE, false_hits: 0.05, differ: 0.05}
  routes: {faq: {semantic: true}}
"""
QUESTION = "How do I activate my new card today please?"
SIMILAR = "How do I activate the new card today please"


def calibrate(home: Path, folder: Path) -> None:
    """By made-up pairs: what is over a half alike is right."""
    pairs = folder / "pairs.jsonl"
    things = [f"{a} {b}" for a in ("card", "phone", "door", "lamp", "book") for b in ("red", "blue", "old", "new")]
    rows = [Pair(f"How do I activate my {t} {n}?", f"How do I activate the {t} {n}", True)
            for t in things for n in ("here", "now", "today", "soon", "again", "fast", "well", "gently")]  # fmt: skip
    pairs.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    command = [sys.executable, "-m", "freehold", "cache", "calibrate", "--route", "faq", "--data", str(pairs),
               "--false-hits", "0.05", "--json"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, check=True, env=clean_environment(FREEHOLD_HOME=str(home)), timeout=60
    )
    assert json.loads(done.stdout)[0]["threshold"] is not None


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("similar")
    calibrate(folder / "home", folder)
    with canary_house(folder, EXTRA.replace("EXPLORE", "0.0"), {"rules": [SAY]}) as house:
        yield house


SAY = {"match": {"model": "say"}, "reply": {"text": "Open the app."}}


def ask(house: House, text: str, client: str = "chat", *, key: str = "one", stream: bool = False, model: str = "faq",
        system: str = "be brief") -> Told:  # fmt: skip
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    if client == "messages":
        body.update(max_tokens=100, system=system)
    elif client == "chat":
        body["messages"].insert(0, {"role": "system", "content": system})
    return house.ask(ENDPOINTS[client], body, key=f"fh-{key}-0123456789abcd", model=model, stream=stream)


def cache(told: Told) -> str:
    assert told.status == 200, told
    return told.headers["x-freehold-cache"].partition(";")[0]


def known(house: House, **more: Any) -> str:
    """Asks the question; when it is asked again, its answer has been written."""
    first = cache(ask(house, QUESTION, **more))
    assert cache(ask(house, QUESTION, **more)) == "hit"
    return first


@pytest.mark.parametrize("client", ["chat", "messages"])
def test_a_similar_question_gets_the_same_answer(house: House, client: str) -> None:
    assert known(house, client=client) == "miss"
    assert cache(ask(house, SIMILAR, client)) == "hit"
    assert cache(ask(house, SIMILAR, client, stream=True)) == "hit"
    assert b"Open the app." in ask(house, SIMILAR, client).body


def test_only_the_question_may_differ_and_only_in_one_partition(house: House) -> None:
    system = "partitions"
    assert known(house, system=system) == "miss"
    assert cache(ask(house, SIMILAR, system=system)) == "hit"
    assert cache(ask(house, SIMILAR, system=system, key="two")) == "miss"
    assert cache(ask(house, SIMILAR, system="another")) == "miss"
    assert cache(ask(house, SIMILAR.replace("activate", "deactivate 2"), system=system)) == "miss"
    assert cache(ask(house, QUESTION, system=system, model="openai/say")) == "miss"
    assert cache(ask(house, SIMILAR, system=system, model="openai/say")) == "miss"


def test_without_calibration_it_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"freehold cache calibrate"),
        canary_house(tmp_path, EXTRA.replace("EXPLORE", "0.0"), {"rules": [SAY]}),
    ):
        pass


def test_drift_closes_it(tmp_path: Path) -> None:
    """Nearly every similar question is asked anew here, and the answers differ: after so many of them nothing is given
    any more, by no gateway, until it is calibrated again."""
    calibrate(tmp_path / "home", tmp_path)
    rules = [
        {"match": {"model": "say", "contains": "my new card"}, "reply": {"text": "Open the app."}},
        {"match": {"model": "say"}, "reply": {"text": "Take 5 of them."}},
    ]
    with canary_house(tmp_path, EXTRA.replace("EXPLORE", "0.95"), {"rules": rules}) as house:
        closed = False
        for number in range(60):
            known(house, system=f"number {number}")
            ask(house, SIMILAR, system=f"number {number}")
            if closed := alarmed(house):
                break
        assert closed
        assert 'result="miss",why="explored"' in metrics(house)
    never = EXTRA.replace("EXPLORE", "0.0")  # what may be given is given
    with canary_house(tmp_path, never, {"rules": rules}) as house:
        for number in range(3):
            assert known(house, system=f"closed {number}") == "miss"
            told = ask(house, SIMILAR, system=f"closed {number}")
            assert cache(told) == "miss"
            assert b"Take 5 of them." in told.body
        assert 'why="explored"' not in metrics(house)
    calibrate(tmp_path / "home", tmp_path)
    with canary_house(tmp_path, never, {"rules": rules}) as house:
        assert known(house, system="open again") == "miss"
        told = ask(house, SIMILAR, system="open again")
        assert cache(told) == "hit"
        assert b"Open the app." in told.body


def alarmed(house: House) -> bool:
    with sqlite3.connect(house.gateway.home / "cache" / "answers.db") as connection:
        row = connection.execute("SELECT watch FROM watches").fetchone()
    connection.close()
    return row is not None and bool(json.loads(row[0])["alarm"])


def metrics(house: House) -> str:
    request = urllib.request.Request(house.gateway.url + "/metrics", headers={"authorization": "Bearer " + KEY})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())
