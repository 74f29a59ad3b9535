"""What the model looks at: which concepts stand together, and in which stretches."""

from freehold.check.moderate.features import MOST_ITEMS, features, stretches
from freehold.check.moderate.fold import fold
from freehold.check.moderate.lexicon import default


def stretches_of(text: str) -> list[set[str]]:
    lexicon = default()
    folded = fold(text, lexicon.knows)
    return [features(stretch) for stretch in stretches(lexicon.items(folded), folded)]


def test_harmless_words_alone_are_not_looked_at() -> None:
    assert stretches_of("Where can I buy bread for my children in the city?") == []


def test_order_and_nearness() -> None:
    [found] = stretches_of("I will kill you")
    assert {"INTENT", "KILL", "YOU", "INTENT>KILL", "INTENT+KILL", "KILL+YOU", "KILL&YOU"} <= found
    assert "YOU>KILL" not in found
    [found] = stretches_of("kill it, said the old gardener on the wide green hill, you")
    assert not {"KILL>YOU", "KILL+YOU"} & found
    assert "KILL&YOU" in found


def test_pairs_end_with_the_sentence() -> None:
    [found] = stretches_of("They were told to kill. You went home.")
    assert "KILL>YOU" not in found
    assert "KILL&YOU" in found


def test_a_sentence_is_read_with_the_one_after_it() -> None:
    found = stretches_of("We had tea. We ate cake. I will kill you. It was late. We slept.")
    assert len(found) == 2
    assert all("KILL" in one for one in found)


def test_ages() -> None:
    for text, concept in [
        ("naked 15 year old", "MINOR"),
        ("naked, aged 12", "MINOR"),
        ("naked, I am 17", "MINOR"),
        ("nude 14yo", "MINOR"),
        ("naked 30 year old", "ADULT"),
        ("裸体 13岁", "MINOR"),
    ]:
        assert any(concept in found for found in stretches_of(text)), text
    assert not any("MINOR" in found for found in stretches_of("naked for 15 minutes, it is 15 percent"))


def test_the_german_article_is_no_death() -> None:
    assert stretches_of("Ich hoffe, die Katze und der Hund schlafen") == []
    assert any("DIE" in found for found in stretches_of("I hope you die"))


def test_a_sentence_without_end_is_cut() -> None:
    found = stretches_of("kill you " * 500)
    assert len(found) > 10
    assert all(len(one) < MOST_ITEMS for one in found)
