"""Pairs, pools, floors, newcomers and flips on made-up outcomes, where the right answer is known beforehand."""

from pathlib import Path

import numpy as np
import outcome_tables as made
import pytest

from freehold.decide import floor
from freehold.errors import BadRequest
from freehold.measure.routing import floors, metrics, newcomers, pairs, pools, robust, scores, splits, tables


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tables.Table:
    return tables.read(made.zeroeval(tmp_path_factory.mktemp("made") / "t.csv", 1200))


@pytest.fixture(scope="module")
def split(table: tables.Table) -> splits.Split:
    return splits.random_rows(table, 0)


@pytest.fixture(scope="module")
def oracle(table: tables.Table) -> scores.Scorer:
    """Knows P(right) of every model on every prompt."""

    def score(some: tables.Table, names: list[str]) -> metrics.Floats:
        hard = [any(word in prompt for word in made.HARD) for prompt in some.prompts]
        return np.array([[made.MODELS[name][one] for name in names] for one in hard])

    return score  # type: ignore[return-value]


def test_random_splits_are_whole_and_repeatable(table: tables.Table) -> None:
    one, again, other = splits.random_rows(table, 3), splits.random_rows(table, 3), splits.random_rows(table, 4)
    assert one.test.prompts == again.test.prompts != other.test.prompts
    assert sorted(one.train.prompts + one.test.prompts) == sorted(table.prompts)


def test_a_held_out_domain_has_no_row_in_training(table: tables.Table) -> None:
    for seed in range(4):
        one = splits.held_out_domains(table, seed)
        assert one is not None
        assert not set(one.train.tasks) & set(one.test.tasks)
        assert len(one.train) + len(one.test) == len(table)
    assert (
        splits.held_out_domains(table.take([i for i, task in enumerate(table.tasks) if task == table.tasks[0]]), 0)
        is None
    )


def test_the_stronger_in_training_is_the_strong_one(table: tables.Table) -> None:
    assert pairs.ordered(table, "large-400b", "small-7b") == pairs.Pair("small-7b", "large-400b")
    with pytest.raises(BadRequest, match="no model 'larg-400b'") as caught:
        pairs.choose(table, [("larg-400b", "small-7b")])
    assert "large-400b" in (caught.value.hint or "")


def test_a_router_that_knows_beats_all_that_do_not(split: splits.Split, oracle: scores.Scorer) -> None:
    pair = pairs.Pair("small-7b", "large-400b")
    routers = {
        "freehold": oracle,
        "random": scores.constant(split.train),
        "length": pairs.length_scorer(split.train, pair),
        "task mean": scores.by_task(split.train),
    }
    found = pairs.figures(pair, split, routers)
    assert found.routers["random"].apgr == pytest.approx(0.5)
    assert found.routers["freehold"].apgr > 0.65
    assert found.routers["task mean"].apgr > 0.65, "the task's first letters say it all here"
    assert found.routers["length"].apgr > 0.6, "hard words are longer here"
    ours = found.routers["freehold"]
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low < ours.apgr < ours.high
    assert found.strong_cost > 10 * found.weak_cost


def test_a_pair_without_a_gap_says_so(split: splits.Split, oracle: scores.Scorer) -> None:
    found = pairs.figures(pairs.Pair("large-400b", "small-7b"), split, {"freehold": oracle})
    assert not found.routers
    assert "no gap" in found.note


def test_rows_count_where_both_were_asked(split: splits.Split, oracle: scores.Scorer) -> None:
    test = split.test.take(range(len(split.test)))
    test.models["small-7b"].ok[10:] = [None] * (len(test) - 10)
    few = splits.Split("random", 0, split.train, test)
    found = pairs.figures(pairs.Pair("small-7b", "large-400b"), few, {"freehold": oracle})
    assert (found.rows, found.routers) == (10, {})
    assert "too few" in found.note


def test_a_pool_beats_the_zero_router_when_the_prompt_tells(split: splits.Split, oracle: scores.Scorer) -> None:
    [pool] = pools.pools(split.test, list(split.train.models))
    assert pool.name == "complete"
    found = pools.figures(pool, split, {"freehold": oracle, "random": scores.constant(split.train)})
    ours, random = found.routers["freehold"], found.routers["random"]
    assert found.best_model == "large-400b"
    assert ours.aiq > found.zero_aiq
    assert random.aiq <= found.zero_aiq + 1e-9
    assert ours.beaten_hull > 0.7
    assert 0.2 < ours.saved <= 1
    assert ours.saved_low is not None
    assert ours.saved_low <= ours.saved <= (ours.saved_high or 1) + 0.05
    assert len(found.lead) == pools.LEADS


def test_a_model_that_was_not_asked_is_never_chosen(split: splits.Split, oracle: scores.Scorer) -> None:
    test = split.test.take(range(len(split.test)))
    hard = [i for i, task in enumerate(test.tasks) if task.startswith("maths")]
    for i in hard:
        test.models["small-7b"].ok[i] = None
    apart = splits.Split("random", 0, split.train, test)
    named = {pool.name: pool for pool in pools.pools(test, list(test.models))}
    assert {"complete", "any"} <= set(named)
    assert all(name.startswith("task home") for name in set(named) - {"complete", "any"})
    assert named["complete"].models == ["middle-30b", "large-400b"]
    here = pools.ground(named["any"], apart)
    picks = pools.choices(oracle(test.take(named["any"].rows), named["any"].models), here)
    assert not np.isnan(pools.reached(picks, here)[1]).any()


def test_hulls_of_groups_are_mixed_where_money_buys_most() -> None:
    steep = metrics.hull([1.0, 2.0], [0.2, 0.8])
    flat = metrics.hull([1.0, 11.0], [0.5, 0.9])
    both = pools.together([(0.5, steep), (0.5, flat)])
    assert both.cost.tolist() == [1.0, 1.5, 6.5]
    assert both.quality.tolist() == pytest.approx([0.35, 0.65, 0.85])


def test_counting_by_arrays_is_counting_by_the_gate(split: splits.Split, oracle: scores.Scorer) -> None:
    cheaper, strong = ["small-7b", "middle-30b"], "large-400b"
    some = floors.trials(split.test, oracle, strong, cheaper)
    trials = [list(zip(risks, failed, strict=True)) for risks, failed in zip(some.risk, some.failed, strict=True)]
    grid = [0.01, 0.05, 0.09, 0.1, 0.5, 0.7, 0.9]
    table = floors.counted(some, grid)
    assert floor.levels(trials, grid) == [
        floor.Level(one, int(table.routed[:, i].sum()), int(table.failed[:, i].sum())) for i, one in enumerate(grid)
    ]


def test_the_floor_is_kept_and_saves(split: splits.Split, oracle: scores.Scorer) -> None:
    found = floors.held_out("all", split, {"freehold": oracle}, "large-400b", ["small-7b", "middle-30b"], 40)
    by_alpha = {one.alpha: one for one in found}
    assert set(by_alpha) == {0.05, 0.1}, "360 test rows are too few for 1 %"
    for alpha, one in by_alpha.items():
        assert one.rate <= alpha
        assert one.shown_over <= 0.05
        assert one.all_rate <= one.together
    assert by_alpha[0.1].routed > 0.2
    assert by_alpha[0.1].saved > 0.1


def test_strong_and_cheaper_are_told_by_training(table: tables.Table) -> None:
    names = list(table.models)
    assert floors.strongest(table, names) == "large-400b"
    assert floors.cheaper_than(table, "large-400b", names) == ["small-7b", "middle-30b"]
    assert floors.cheaper_than(table, "large-400b", names, {"small-7b": 5, "middle-30b": 1, "large-400b": 2}) == [
        "middle-30b"
    ]


def test_a_new_model_is_predicted_better_with_labels(split: splits.Split) -> None:
    lines = newcomers.figures(split, None, list(split.train.models), scores.learned)
    assert [one.labels for one in lines] == [0, 20, 100, None], "one half of the rows has no 500"
    assert lines[-1].brier < lines[-1].constant - 0.02
    assert lines[-1].brier <= lines[0].brier + 0.01


def test_changes_that_change_nothing_flip_nothing(split: splits.Split) -> None:
    predictor = scores.learned(split.train, 0)
    found = {one.kind: one for one in robust.flips(predictor, split.test.prompts, "small-7b", "large-400b", 0)}
    assert found["white space"].flipped <= 0.05
    assert found["typographic quotes"].flipped <= 0.05
    assert any(kind.startswith("worst trigger") for kind in found)
    assert all(0 <= one.flipped <= 1 and 0 <= one.raised <= 1 for one in found.values())


def test_every_change_changes_the_text_and_keeps_its_words() -> None:
    import random

    text = "The engine's garden {x} is - as they say - another flower"
    for kind, change in robust.CHANGES.items():
        changed = change(text, random.Random(1))
        assert changed != text, kind
        if kind not in ("typos", "lower case", "typographic quotes"):
            assert [word for word in changed.split() if word in text.split()] != []
            assert "{x}" in changed, kind


def test_the_time_of_a_decision_is_measured(split: splits.Split) -> None:
    found = robust.times(scores.learned(split.train, 0), split.test.prompts[:5], ["small-7b", "large-400b"])
    assert [one.size for one in found] == [1024, 32768]
    assert all(0 < one.p50 <= one.p99 for one in found)
    assert len(set(robust._made(["abc", "defg"], 64, 5))) == 5


def test_a_file_with_one_path_is_enough(tmp_path: Path) -> None:
    assert len(tables.read_all([made.routellm(tmp_path / "r.csv.gz", 5)])) == 1
