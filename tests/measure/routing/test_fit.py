"""Training: it learns what is there, says no to what cannot be learnt from, and few labels never do harm."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from freehold.decide.predict import Predictor, default, dumps
from freehold.measure.routing import fit_heads as heads
from freehold.measure.routing.fit import fit, fit_heads
from freehold.measure.routing.tables import read

DATA = Path(__file__).parents[4] / "shared" / "data" / "routing"

HARD = " ".join(["prove the lemma of a theorem in the manifold please"] * 3)
EASY = " ".join(["hello joke of the weather in a pizza please"] * 3)


def made_up(rows: int = 400, seed: int = 0) -> tuple[list[str], dict[str, list[float | None]]]:
    rng = random.Random(seed)
    texts = []
    outcomes: dict[str, list[float | None]] = {"a": [], "b": [], "c": []}
    for _ in range(rows):
        hard = rng.random() < 0.5
        words = ["prove", "theorem", "lemma", "manifold"] if hard else ["hello", "weather", "pizza", "joke"]
        texts.append(" ".join(rng.choice([*words, "the", "of", "a", "in", "please"]) for _ in range(30)))
        outcomes["a"].append(float(rng.random() < (0.2 if hard else 0.9)))
        outcomes["b"].append(float(rng.random() < (0.8 if hard else 0.95)))
        outcomes["c"].append(float(rng.random() < 0.5) if rng.random() < 0.7 else None)
    return texts, outcomes


def test_one_seed_gives_one_predictor() -> None:
    texts, outcomes = made_up()
    assert dumps(fit(texts, outcomes, seed=3)) == dumps(fit(texts, outcomes, seed=3))


def test_probabilities_are_calibrated_on_prompts_not_seen() -> None:
    texts, outcomes = made_up(800)
    predictor = fit(texts, outcomes)
    fresh, truth = made_up(1_500, seed=9)
    for name in ("a", "b"):
        p = np.array([predictor.quality(predictor.read(text), [name])[0].p for text in fresh])
        y = np.array(truth[name], float)
        assert abs(p.mean() - y.mean()) < 0.05
        assert abs(p[p > 0.5].mean() - y[p > 0.5].mean()) < 0.07


def test_models_that_answered_other_prompts_share_a_basis() -> None:
    texts, outcomes = made_up(600)
    half = len(texts) // 2
    split: dict[str, list[float | None]] = {
        "a": [*outcomes["a"][:half], *[None] * half],
        "z": [*[None] * half, *outcomes["b"][half:]],
    }
    predictor = fit(texts, split)
    assert set(predictor.names) == {"a", "z"}
    assert (
        predictor.quality(predictor.read(HARD), ["a"])[0].p < predictor.quality(predictor.read(EASY), ["a"])[0].p - 0.3
    )


@pytest.mark.parametrize(
    ("texts", "outcomes", "why"),
    [
        (["x"] * 100, {}, "no model has outcomes"),
        (["x"] * 100, {"a": [1] * 99}, "99 outcomes of a for 100 prompts"),
        (["x"] * 100, {"a": [2.0] * 100}, "not all between 0 and 1"),
        (["x"] * 100, {"a": [float("inf")] * 100}, "not all between 0 and 1"),
        (["x"] * 100, {"a": [None] * 100}, "fewer than 30 prompts"),
        (["x"] * 10, {"a": [1] * 10}, "10 prompts are too few"),
    ],
)
def test_data_of_which_nothing_can_be_learnt_is_refused(
    texts: list[str], outcomes: dict[str, list[float | None]], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        fit(texts, outcomes)


@pytest.mark.parametrize("column", [[1.0] * 100, [0.0] * 100, [0.5] * 100])
def test_outcomes_that_are_all_the_same_are_no_trouble(column: list[float]) -> None:
    texts, _ = made_up(100)
    predictor = fit(texts, {"a": column, "b": [1.0, 0.0] * 50})
    estimate = predictor.quality(predictor.read(texts[0]), ["a"])[0]
    assert abs(estimate.p - column[0]) < 0.2


def test_prompts_without_a_single_known_word_are_no_trouble() -> None:
    texts = ["数" * (i % 7) for i in range(100)]
    predictor = fit(texts, {"a": [float(i % 2) for i in range(100)]})
    assert 0 < predictor.quality(predictor.read(""), ["a"])[0].p < 1


def test_heads_are_learnt_from_stored_readings() -> None:
    texts, outcomes = made_up(400)
    predictor = fit(texts, {name: outcomes[name] for name in ("a", "b")})
    fresh, truth = made_up(500, seed=4)
    readings = [predictor.read(text) for text in fresh]
    new = fit_heads(predictor, readings, {"own/new": truth["a"], "untouched": [None] * 500})
    assert set(new.names) == {"a", "b", "own/new"}
    assert new.id == predictor.id
    as_numbers = fit_heads(predictor, [reading.z for reading in readings], {"own/new": truth["a"]})
    assert as_numbers.heads["own/new"] == new.heads["own/new"]
    p_hard, p_easy = (new.quality(new.read(text), ["own/new"])[0].p for text in (HARD, EASY))
    assert p_hard < 0.5 < p_easy


def test_readings_of_another_basis_are_refused() -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        fit_heads(default(), [(1.0, 2.0)], {"a": [1.0]})
    with pytest.raises(ValueError, match="finite numbers"):
        fit_heads(default(), [(float("nan"),) * default().lanes], {"a": [1.0]})


def brier(predictor: Predictor, name: str, readings: list[tuple[float, ...]], truth: np.ndarray) -> float:  # type: ignore[type-arg]
    from freehold.decide.predict import Reading

    p = np.array([predictor.quality(Reading(z), [name])[0].p for z in readings])
    return float(((p - truth) ** 2).mean())


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_more_labels_never_make_a_newcomer_worse_on_average(strength: float) -> None:
    """Whatever strength was declared for it, right or wrong; and its weights are far from any that the family knows."""
    predictor = default()
    rng = np.random.default_rng(0)
    slope = rng.normal(0, 0.5, predictor.lanes)
    missed: dict[int, list[float]] = {0: [], 20: [], 100: [], 500: []}
    for _ in range(12):
        z = rng.normal(0, 1, (1_500, predictor.lanes))
        y = (rng.random(1_500) < 1 / (1 + np.exp(-(0.4 + z @ slope)))).astype(float)
        test = [tuple(row) for row in z[500:]]
        for labels in missed:
            head = fit_heads(
                predictor, [tuple(row) for row in z[:labels]], {"new": list(y[:labels])}, strengths={"new": strength}
            )
            if not labels:
                p = predictor.quality
                from freehold.decide.predict import Reading

                values = np.array([p(Reading(row), ["new"], [strength])[0].p for row in test])
                missed[0].append(float(((values - y[500:]) ** 2).mean()))
            else:
                missed[labels].append(brier(head, "new", test, y[500:]))
    means = [float(np.mean(values)) for values in missed.values()]
    assert all(after < before + 0.0005 for before, after in itertools.pairwise(means)), means
    assert means[-1] < means[0] - 0.01


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/routing is not here")
def test_on_real_prompts_it_beats_chance_on_subjects_it_never_saw() -> None:
    table = read(DATA / "routellm_mmlu.csv.gz")
    held = set(sorted(set(table.tasks))[::3])
    train = table.take([i for i, task in enumerate(table.tasks) if task not in held][::3])
    test = table.take([i for i, task in enumerate(table.tasks) if task in held][::2])
    predictor = fit(train.prompts, train.outcomes(), tasks=train.tasks)
    weak, strong = sorted(table.models, key=lambda name: sum(filter(None, table.models[name].ok)))
    pairs = [[one.p for one in predictor.quality(predictor.read(text), [weak, strong])] for text in test.prompts]
    gain = np.array([(s or 0) - (w or 0) for w, s in zip(test.models[weak].ok, test.models[strong].ok, strict=True)])
    order = np.argsort([w - s for w, s in pairs], kind="stable")
    reached = np.cumsum(gain[order]) / gain.sum()
    assert reached.mean() > 0.53


def test_models_that_only_luck_tells_apart_stay_together() -> None:
    """Twenty models of one true head and 300 labels each: the spread that is learnt is not that of their errors."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 6))
    true = np.array([0.8, -0.5, 0.3, 0.0, 0.0, 0.0])
    abilities = np.linspace(-1, 1, 20)
    outcomes = {
        f"m{i}": (rng.uniform(size=300) < 1 / (1 + np.exp(-(z @ true + ability)))).astype(float)
        for i, ability in enumerate(abilities)
    }
    family = heads.learn_family(z, outcomes)
    assert np.mean(family.spread[:-1]) < 0.08, "the errors alone have a standard deviation of 0.13"
    found = np.array([heads.learn_head(name, z, y, family).weights for name, y in outcomes.items()])
    assert found.std(axis=0).mean() < 0.06
    assert np.abs(found - true).max() < 0.25


def test_models_that_differ_are_left_apart() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2_000, 4))
    tastes = rng.normal(size=20)
    outcomes = {
        f"m{i}": (rng.uniform(size=2_000) < 1 / (1 + np.exp(-(0.5 * z[:, 0] + taste * z[:, 1])))).astype(float)
        for i, taste in enumerate(tastes)
    }
    family = heads.learn_family(z, outcomes)
    assert family.spread[1] > 5 * family.spread[2]
    found = np.array([heads.learn_head(name, z, y, family).weights[1] for name, y in outcomes.items()])
    assert np.corrcoef(found, tastes)[0, 1] > 0.98


def test_weights_that_answer_to_moves_are_charged_for() -> None:
    """Two measures say the same; the first moves when something is put around a prompt."""
    rng = np.random.default_rng(2)
    signal = rng.normal(size=2_000)
    z = np.column_stack([signal, signal]) + 0.01 * rng.normal(size=(2_000, 2))
    y = (rng.uniform(size=2_000) < 1 / (1 + np.exp(-signal))).astype(float)
    stiff = np.diag([1.0, 0.0, 0.0])
    outcomes = {"a": y, "b": 1 - y}
    calm = heads.learn_family(z, outcomes, stiff)
    head = heads.learn_head("a", z, y, calm, stiff=stiff)
    assert abs(head.weights[0]) < 0.1
    assert head.weights[1] > 0.7


def test_labels_count_by_their_weights() -> None:
    texts, outcomes = made_up()
    predictor = fit(texts, outcomes)
    reading = predictor.read(HARD)
    twice = [reading] * 60
    labels: list[float | None] = [1.0] * 30 + [0.0] * 30

    def p(weight: float) -> float:
        weights = {"new": [1.0] * 30 + [weight] * 30}
        return fit_heads(predictor, twice, {"new": labels}, weights=weights).quality(reading, ["new"])[0].p

    assert p(0.05) > p(0.5) > p(1.0)
    assert p(1.0) == fit_heads(predictor, twice, {"new": labels}).quality(reading, ["new"])[0].p
