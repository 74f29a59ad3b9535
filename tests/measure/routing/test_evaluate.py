"""The whole evaluation on small made-up files: every figure is there, on files never seen before."""

from pathlib import Path

import msgspec
import outcome_tables as made
import pytest

from freehold.errors import BadRequest, ConfigError
from freehold.measure.routing import evaluate, report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> evaluate.Report:
    path = made.zeroeval(tmp_path_factory.mktemp("made") / "t.csv.gz", 700)
    return evaluate.evaluate([path], seeds=2)


def test_without_test_files_rows_and_domains_are_held_out(whole: evaluate.Report) -> None:
    [table] = whole.tables
    assert (table.kind, table.rows, table.models) == ("zeroeval", 700, 3)
    assert [split.split for split in table.splits] == ["random", "domains"]
    by_domain = table.splits[1]
    assert not set(by_domain.train_tasks) & set(by_domain.test_tasks)
    assert all(split.seeds == 2 for split in table.splits)


def test_every_figure_stands_beside_every_baseline(whole: evaluate.Report) -> None:
    split = whole.tables[0].splits[0]
    for pair in split.pairs:
        assert set(pair.routers) == {"freehold", "random", "length", "task mean"}
        assert {"apgr", "cpt50", "cpt80", "cost_apgr"} <= set(pair.routers["freehold"])
        assert pair.routers["freehold"]["apgr"].n == 2
        assert pair.routers["random"]["apgr"].mean == pytest.approx(0.5)
    [pool] = [one for one in split.pools if one.pool == "complete"]
    assert {"aiq", "beaten", "saved", "saved99"} <= set(pool.routers["freehold"])
    assert {"zero_aiq", "plain_zero_aiq", "best_accuracy"} <= set(pool.about)
    assert len(pool.lead) == 11
    assert {one.alpha for one in split.floors} >= {0.05, 0.1}
    assert {one.mode for one in split.floors} == {"held out", "carried"}
    assert all(one.resamplings == 200 for one in split.floors)
    assert all(one.figures["rate"].mean <= one.alpha for one in split.floors if one.mode == "held out")
    assert {"typos", "trigger before", "worst trigger"} <= {one.kind for one in split.flips}
    assert {one.size for one in whole.tables[0].times} == {1024, 32768}


def test_the_router_learns_what_there_is(whole: evaluate.Report) -> None:
    split = whole.tables[0].splits[0]
    pair = next(one for one in split.pairs if one.weak == "small-7b")
    assert pair.routers["freehold"]["apgr"].mean > 0.65


def test_json_and_markdown_tell_the_same_report(whole: evaluate.Report) -> None:
    again = msgspec.json.decode(evaluate.encoded(whole), type=evaluate.Report)
    assert again == whole
    page = report.markdown(whole)
    assert "| freehold |" in page
    assert "quality floor, 200 resamplings" in page
    for section in report.sections(whole):
        assert all(len(row) == len(section.columns) for row in section.rows), section.title


def test_test_files_are_tested_on_as_they_are(tmp_path: Path) -> None:
    """Other subjects, another seed, a model that training does not know, and files of two kinds in training."""
    train = [made.routellm(tmp_path / "a.csv", 250), made.zeroeval(tmp_path / "b.csv.gz", 250, seed=5)]
    test = made.routellm(tmp_path / "c.csv", 120, seed=9)
    text = test.read_text().replace("home", "law").replace("maths", "physics")
    test.write_text(text.replace("large-400b,subject", "large-400b,subject"))
    found = evaluate.evaluate(train, [test], seeds=1)
    [table] = found.tables
    [split] = table.splits
    assert (split.split, split.train_rows, split.test_rows) == ("given", 500, 120)
    assert "law0" in split.test_tasks
    [pair] = split.pairs
    assert (pair.weak, pair.strong) == ("small-7b", "large-400b")
    assert pair.routers["task mean"]["apgr"].mean == pytest.approx(0.5), "these subjects were never seen"
    assert pair.routers["freehold"]["apgr"].mean > 0.6


def test_models_that_training_does_not_know_are_left_out(tmp_path: Path) -> None:
    train = made.routellm(tmp_path / "a.csv", 200)
    test = tmp_path / "b.csv"
    test.write_text(made.routellm(tmp_path / "c.csv", 80, seed=2).read_text().replace("small-7b", "stranger"))
    found = evaluate.evaluate([train], [test], seeds=1)
    assert found.tables[0].splits[0].pairs == []
    assert report.markdown(found) != ""


def test_a_pair_is_measured_when_asked_for(tmp_path: Path) -> None:
    path = made.mmlu_pro(tmp_path / "a.csv", 200)
    found = evaluate.evaluate([path], asked=[("large-400b", "middle-30b")], seeds=1)
    assert ("middle-30b", "large-400b") in [(one.weak, one.strong) for one in found.tables[0].splits[0].pairs]
    with pytest.raises(BadRequest, match="no model 'huge'"):
        evaluate.evaluate([path], asked=[("large-400b", "huge")])
    with pytest.raises(ConfigError, match="No such file"):
        evaluate.evaluate([tmp_path / "none.csv"])


def test_a_file_too_small_to_learn_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="too few"):
        evaluate.evaluate([made.routellm(tmp_path / "a.csv", 30)], seeds=1)
