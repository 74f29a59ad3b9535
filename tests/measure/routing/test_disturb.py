"""What stands around a prompt: copies hold the prompt, none holds what the measurement of flips uses, and a fit on them
is hard to sway."""

import random

import numpy as np
import outcome_tables as made

from freehold.measure.routing import fit_disturb, fit_heads, fit_ridge, robust, scores, tables
from freehold.measure.routing.fit_disturb import MOST, ROWS, copies, disturbed


def test_copies_hold_their_prompt_and_are_repeatable() -> None:
    texts = [f"What is {number} and {number + 1}?" for number in range(200)]
    found = disturbed(texts, ["what", "is", "and"], 3)
    assert len(found) == len(texts) * MOST
    for place, copy in enumerate(found):
        assert texts[place % len(texts)].lower() in copy.lower()
    assert sum(copy != texts[place % len(texts)] for place, copy in enumerate(found)) == len(found)
    assert found == disturbed(texts, ["what", "is", "and"], 3)
    assert found != disturbed(texts, ["what", "is", "and"], 4)


def test_large_tables_have_each_prompt_once() -> None:
    assert copies(ROWS * 3) == 1
    assert copies(ROWS // 2) == 2
    assert copies(1) == MOST


def test_nothing_is_trained_on_that_flips_are_measured_with() -> None:
    known = "\n".join(
        str(value) for name, value in vars(fit_disturb).items() if name.startswith("_") and isinstance(value, tuple)
    )
    for trigger in robust.TRIGGERS:
        assert trigger.strip() not in known
    for template in robust.TEMPLATES:
        assert template.replace("{}", "").strip() not in known


def test_looking_past_what_stands_around_makes_decisions_hard_to_flip(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    table = tables.read(made.zeroeval(tmp_path / "t.csv", 700))
    prompts = [prompt for prompt, _, _ in made.rows(300, seed=9)]

    def flipped() -> float:
        found = robust.flips(scores.learned(table, 0), prompts, "small-7b", "large-400b", 0)
        return float(np.mean([one.flipped for one in found if one.kind.startswith(("trigger", "paraphrase"))]))

    with_copies = flipped()
    monkeypatch.setattr(fit_heads, "STIFF", 0.0)
    monkeypatch.setattr(fit_ridge, "STILL", np.float32(0.0))
    assert with_copies < 0.8 * flipped()


def test_any_text_can_be_disturbed() -> None:
    odd = ["", " ", "\ud800", "x" * 5000, "{}", "%s\n\n"]
    assert len(disturbed(odd, [], random.Random(0).randrange(100))) == len(odd) * MOST
