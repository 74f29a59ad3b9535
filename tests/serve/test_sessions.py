"""Where conversations ran last: what is found again, what is not, and that two processes never read half of each."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects.conversation import Conversation, Image, Text, Turn, Usage
from freehold.serve.sessions import LIFE, SLOTS, Sessions, cached_for, cached_next, lot, session_key

NOW = 1.8e9


def talk(*texts: str, system: str = "Be brief.", marked: bool = False) -> Conversation:
    """Turns of user and assistant by turns."""
    roles = ("user", "assistant")
    turns = [Turn(roles[n % 2], [Text(text, "5m" if marked else None)]) for n, text in enumerate(texts)]
    return Conversation("m", [Text(system)], turns)


def test_what_ran_is_found_again_and_by_other_workers(tmp_path: Path) -> None:
    one, other = Sessions(tmp_path / "sessions"), Sessions(tmp_path / "sessions")
    key = session_key("team", b"s1", None)
    assert one.look(key, NOW) is None
    one.note(key, "openai/a", 4000, NOW)
    found = one.look(key, NOW + 1)
    assert found is not None
    assert (found.deployment, found.tokens) == ("openai/a", 4000)
    assert other.look(key, NOW + 1) is None, "it does not know the name yet"
    other.know(["openai/a", "own/b"])
    assert other.look(key, NOW + 1) == found
    one.note(key, "own/b", 10, NOW + 2)
    assert other.look(key, NOW + 2) == one.look(key, NOW + 2)


def test_a_cache_ends_with_its_life(tmp_path: Path) -> None:
    lives = {"own/a": 7}
    sessions = Sessions(tmp_path / "sessions", life=lambda name: lives.get(name, 0))
    rented, owned = session_key("k", b"1", None), session_key("k", b"2", None)
    sessions.note(rented, "openai/a", 2000, NOW)
    sessions.note(owned, "own/a", 2000, NOW)
    assert sessions.look(rented, NOW + LIFE - 1) is not None
    assert sessions.look(rented, NOW + LIFE + 1) is None
    assert sessions.look(owned, NOW + LIFE + 1) is not None
    lives["own/a"] = 8
    assert sessions.look(owned, NOW + 1) is None, "another engine has another cache"
    assert cached_for("own/a") > cached_for("openai/a") == LIFE


def test_a_clock_that_is_set_back_finds_nothing_instead_of_keeping_everything(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    key = session_key("k", b"1", None)
    sessions.note(key, "openai/a", 2000, NOW)
    assert sessions.look(key, NOW - 0.2) is not None
    assert sessions.look(key, NOW - 3600) is None


def test_a_torn_slot_counts_as_empty(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    key = session_key("k", b"1", None)
    sessions.note(key, "openai/a", 2000, NOW)
    content = bytearray((tmp_path / "sessions").read_bytes())
    at = next(n for n in range(64, len(content)) if content[n])
    content[at + 20] ^= 1
    (tmp_path / "sessions").write_bytes(content)
    torn = Sessions(tmp_path / "sessions")
    torn.know(["openai/a"])
    assert torn.look(key, NOW) is None


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\0" * (64 + 32 * SLOTS)])
def test_a_file_of_something_else_is_begun_afresh(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessions").write_bytes(content)
    sessions = Sessions(tmp_path / "sessions")
    key = session_key("k", b"1", None)
    sessions.note(key, "openai/a", 2000, NOW)
    assert sessions.look(key, NOW) is not None


def test_the_oldest_gives_way(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    keys = [session_key("k", b"%d" % n, None) for n in range(2 * SLOTS)]
    for n, key in enumerate(keys):
        sessions.note(key, "own/a", n, NOW + n / 1000)
    end = NOW + len(keys) / 1000
    assert all(sessions.look(key, end) is not None for key in keys[-1000:])
    found = sum(sessions.look(key, end) is not None for key in keys)
    assert SLOTS / 2 < found <= SLOTS


def test_a_conversation_is_known_by_how_it_begins() -> None:
    first = session_key("k", None, talk("What is this?"))
    assert first == session_key("k", None, talk("What is this?", "A bird.", "Sure?"))
    assert first == session_key("k", None, talk("What is this?", marked=True)), "marks for the cache move on"
    assert first == session_key("k", b"", talk("What is this?"))
    others = [
        session_key("other", None, talk("What is this?")),
        session_key("k", None, talk("What is that?")),
        session_key("k", None, talk("What is this?", system="Be long.")),
        session_key("k", b"What is this?", None),
        session_key("k", b"", None),
        session_key("k", None, Conversation("m", [], [Turn("user", [Image(data="aa")])])),
        session_key("k", None, Conversation("m", [], [Turn("user", [Image(data="ab")])])),
    ]
    assert len({first, *others}) == len(others) + 1


def test_where_there_is_nothing_to_tell_by_nothing_is_kept(tmp_path: Path) -> None:
    assert session_key("k", None, None) == 0
    sessions = Sessions(tmp_path / "sessions")
    sessions.note(0, "openai/a", 5, NOW)
    assert sessions.look(0, NOW) is None


@given(st.text(max_size=50), st.binary(max_size=50) | st.none(), st.lists(st.text(max_size=50), max_size=3))
def test_any_text_makes_a_key(principal: str, header: bytes | None, texts: list[str]) -> None:
    try:
        principal.encode()
    except UnicodeEncodeError:
        return
    assert 0 < session_key(principal, header, talk(*texts)) < 1 << 64


def test_lots_are_the_same_each_time_and_even() -> None:
    lots = [lot(session_key("k", b"%d" % n, None), "route") for n in range(2000)]
    assert lots == [lot(session_key("k", b"%d" % n, None), "route") for n in range(2000)]
    assert all(0.0 <= one < 1.0 for one in lots)
    assert 0.46 < sum(lots) / len(lots) < 0.54
    assert lot(5, "route") != lot(5, "another")


def test_what_the_next_turn_finds_in_the_cache() -> None:
    usage = Usage(uncached=1500, cache_read=500, output=300, reasoning=100)
    assert cached_next("own", usage) == 2200
    assert cached_next("openai", usage) == 2176, "in steps of 128"
    assert cached_next("openai", Usage(uncached=900)) == 0, "too short"
    assert cached_next("anthropic", usage) == 500
    assert cached_next("anthropic", Usage(uncached=10, cache_write_5m=2000, cache_write_1h=7)) == 2007


NAMES = [f"own/{n}" for n in range(7)]


def _hammer(path: str, seed: int, together: Any, found: "multiprocessing.Queue[tuple[int, int]]") -> None:
    """Writes pairs of a deployment and tokens that fit each other, and counts what does not: parts of two writings."""
    sessions, rng = Sessions(Path(path)), random.Random(seed)
    sessions.know(NAMES)
    together.wait(60)
    bad = seen = 0
    for _ in range(20_000):
        session, number = rng.randrange(1, 5), rng.randrange(7)
        if rng.random() < 0.5:
            sessions.note(session, NAMES[number], 7 * rng.randrange(1 << 20) + number, NOW)
        elif (ran := sessions.look(session, NOW)) is not None:
            seen += 1
            bad += ran.deployment != NAMES[ran.tokens % 7]
    found.put((bad, seen))


def test_processes_that_write_at_once_never_read_what_nobody_wrote(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[int, int]] = context.Queue()
    together = context.Barrier(3)
    Sessions(tmp_path / "sessions").close()
    workers = [
        context.Process(target=_hammer, args=(str(tmp_path / "sessions"), seed, together, results), daemon=True)
        for seed in range(3)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=90) for _ in workers]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert sum(bad for bad, _ in found) == 0
    assert all(seen > 1000 for _, seen in found)
