"""What is written down of losses: words of the dialects, and none that only a client knows."""

import re
import secrets

from hypothesis import given
from hypothesis import strategies as st

from freehold.serve import lost
from freehold.serve.lost import known, named


def test_words_of_the_dialects_stay() -> None:
    told = ["messages.1.thinking", "reasoning_content", "logit_bias", "messages.3.tool_result", "text.verbosity"]
    assert known(told) == ", ".join(told) == named(told)


def test_a_word_that_only_the_client_knows_does_not() -> None:
    secret = secrets.token_hex(12)
    told = [secret, f"tools.3.{secret}", f"messages.0.{secret}.image", f"system.{secret} text", "user"]
    assert known(told) == "?, tools.3.?, messages.0.?.image, system.? text, user"
    assert secret in named(told)


def test_each_once_and_not_too_many() -> None:
    assert known(["user", "seed"], ["user", "a-secret", "another"]) == "user, seed, ?"
    assert len(known([f"messages.{n}.thinking" for n in range(1000)])) == lost.MOST
    assert named(["n\nl", "ü"]) == "n?l, ?"


@given(st.lists(st.text(max_size=30), max_size=5))
def test_whatever_a_client_calls_its_fields(names: list[str]) -> None:
    told = known(names)
    assert told.isascii()
    words = re.split(r"[., \[\]]+", told)
    assert all(not word or word in lost._words() or word.isdigit() or word == "?" for word in words)
