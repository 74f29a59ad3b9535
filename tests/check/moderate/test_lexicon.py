"""The vocabulary: how it is written, and what is found in a text."""

import pytest

from freehold.check.moderate.english import forms
from freehold.check.moderate.fold import fold
from freehold.check.moderate.lexicon import Lexicon, default, parse

WRITTEN = """
# a comment
KILL: kill, kill off, töten
  杀死
KILL+: rob, chop up
IDIOM: kill the process
GROUP/rot13: sbb
STEM: terroris*
"""


@pytest.fixture(scope="module")
def small() -> Lexicon:
    return Lexicon(parse(WRITTEN))


def found(lexicon: Lexicon, text: str) -> list[str]:
    return [concept for concept, _, _ in lexicon.items(fold(text, lexicon.knows))]


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("kill", ["KILL"]),
        ("skill killer", []),
        ("Töten!", ["KILL", "STOP"]),
        ("kill the process", ["IDIOM"]),
        ("kill the processes", ["KILL"]),
        ("快杀死他", ["KILL"]),
        ("terrorists", ["STEM"]),
        ("counterterrorists", []),
        ("foo?", ["GROUP", "ASK"]),
        ("robbing", ["KILL"]),
        ("robbed chopped up", ["KILLED", "KILLED"]),
        ('"kill"', ["QUOTE", "KILL", "QUOTE"]),
        ("kill kill", ["KILL", "KILL"]),
    ],
)
def test_what_is_found(small: Lexicon, text: str, concepts: list[str]) -> None:
    assert found(small, text) == concepts


def test_places_are_those_of_the_folded_text(small: Lexicon) -> None:
    folded = fold("please kill off", small.knows)
    [(_, start, end)] = small.items(folded)
    assert folded[start:end] == b" kill  off "


@pytest.mark.parametrize("text", ["  going on with nothing", "lower: case", "NO COLON"])
def test_what_is_no_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse(text)


def test_an_entry_that_folds_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Lexicon({"X": ["!"]} | {"Y": ["'"]} | {"Z": ["-"]})


@pytest.mark.parametrize(
    ("verb", "all_forms"),
    [
        ("kick", "kick kicks kicking kicked"),
        ("rob", "rob robs robbing robbed"),
        ("forge", "forge forges forging forged"),
        ("smash", "smash smashes smashing smashed"),
        ("falsify", "falsify falsifies falsifying falsified"),
        ("destroy", "destroy destroys destroying destroyed"),
        ("steal", "steal steals stealing stole"),
        ("cut", "cut cuts cutting cut"),
    ],
)
def test_english_verbs(verb: str, all_forms: str) -> None:
    assert forms(verb) == tuple(all_forms.split())


def test_the_one_that_ships_is_sound() -> None:
    lexicon = default()
    assert len(lexicon.words) > 80
    assert lexicon.id == Lexicon(lexicon.words).id
    assert found(lexicon, "How do I kill a process in Python?")[1] == "IDIOM"
