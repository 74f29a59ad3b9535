"""Counters of several workers on one page: complete, and never going back, whoever dies when."""

import importlib.util
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects.conversation import Usage
from freehold.errors import ConfigError
from freehold.record import metrics
from freehold.record.metrics import MAX_SERIES, LedgerTotals, Metrics, fold_departed, forget, save_ledger

_SPEC = importlib.util.spec_from_file_location("exposition_parser", Path(__file__).with_name("test_exposition.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_PARSER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PARSER)

DEAD = 4_194_305
"""One more than the highest process id Linux can give."""
LABELS = ("lab/small", "lab", "chat", "200")


def read(page: bytes) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    _, samples = _PARSER.parse(page)
    return {(name, *(value for _, value in labels)): number for (name, labels), number in samples.items()}


def kill(run: Path) -> None:
    """Makes the snapshots of living workers those of a dead one."""
    for path in run.glob(f"*-{os.getpid()}.snapshot"):
        path.rename(path.with_name(f"{path.stem.rpartition('-')[0]}-{DEAD}.snapshot"))


def test_what_was_counted_is_on_the_page(tmp_path: Path) -> None:
    worker = Metrics(tmp_path, "w0")
    worker.observe(LABELS, 12_000, 10_000, 3_000, Usage(uncached=5, cache_read=7, output=11, reasoning=2))
    worker.observe(LABELS, 900_000, 0, 0, None)
    worker.attempt("lab/small", "ok")
    worker.decision("alias")
    worker.inflight, worker.open = 3, ["lab/small"]
    save_ledger(tmp_path, LedgerTotals({("lab/small", "rented"): 1_500_000_000}, {"priced": 2, "unknown": 1}, 0.5))
    found = read(worker.render())
    assert found["freehold_requests_total", *LABELS] == 2
    assert found["freehold_request_seconds_sum", *LABELS] == 0.912
    assert found["freehold_request_seconds_bucket", *LABELS, "0.025"] == 1
    assert found["freehold_overhead_seconds_sum", *LABELS] == 0.002
    assert found["freehold_overhead_seconds_count", *LABELS] == 1
    assert found["freehold_ttft_seconds_count", *LABELS] == 1
    tokens = {key[-1]: count for key, count in found.items() if key[0] == "freehold_tokens_total"}
    assert tokens == {"input": 12, "cached": 7, "output": 11, "reasoning": 2}
    assert found["freehold_attempts_total", "lab/small", "ok"] == 1
    assert found["freehold_decisions_total", "alias"] == 1
    assert found["freehold_cost_usd_total", "lab/small", "rented"] == 1.5
    assert found["freehold_ledger_calls_total", "unknown"] == 1
    assert found["freehold_journal_lag_seconds",] == 0.5
    assert found["freehold_inflight",] == 3
    assert found["freehold_breaker_open", "lab/small"] == 1


def test_workers_are_added_up_and_gauges_die_with_theirs(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path, "w0"), Metrics(tmp_path, "w1")
    for worker in (first, second, second):
        worker.observe(LABELS, 1000, 0, 0, None)
    first.inflight, second.inflight = 1, 2
    second.open = ["lab/small"]
    second.save()
    found = read(first.render())
    assert found["freehold_requests_total", *LABELS] == 3
    assert found["freehold_inflight",] == 3
    for path in tmp_path.glob("w1-*"):
        path.rename(path.with_name(f"w1-1-{DEAD}.snapshot"))
    for _ in range(2):
        found = read(first.render())
        assert found["freehold_requests_total", *LABELS] == 3
        assert found["freehold_inflight",] == 1
        assert ("freehold_breaker_open", "lab/small") not in found
        fold_departed(tmp_path)


class Crash(Exception):
    pass


@settings(max_examples=40, deadline=None)
@given(
    actions=st.lists(
        st.sampled_from(["count", "scrape", "die", "fold", "fold, killed before", "fold, killed after"]), max_size=25
    )
)
def test_counters_never_go_back(actions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run = Path(folder)
        worker, counted, shown = Metrics(run, "w0"), 0, 0.0
        replace, unlink = metrics._replace, Path.unlink

        def killed_before(path: Path, content: bytes) -> None:
            raise Crash

        def killed_after(path: Path, missing_ok: bool = False) -> None:
            raise Crash

        for action in actions:
            if action == "count":
                worker.observe(LABELS, 1000, 0, 0, None)
                counted += 1
                worker.save()
            elif action == "die":
                kill(run)
                worker = Metrics(run, "w0")
            elif action.startswith("fold"):
                if "before" in action:
                    patch.setattr(metrics, "_replace", killed_before)
                elif "after" in action:
                    patch.setattr(Path, "unlink", killed_after)
                with suppress(Crash):
                    fold_departed(run)
                patch.setattr(metrics, "_replace", replace)
                patch.setattr(Path, "unlink", unlink)
            found = read(worker.render()).get(("freehold_requests_total", *LABELS), 0)
            assert found == counted
            assert found >= shown
            shown = found


def test_a_snapshot_folded_during_a_scrape_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steward folds just after the snapshots were read, or just before the first is."""
    gone = Metrics(tmp_path, "w1")
    gone.observe(LABELS, 1000, 0, 0, None)
    gone.save()
    kill(tmp_path)
    worker = Metrics(tmp_path, "w0")
    departed = metrics._read_departed

    def folding_first(run: Path) -> Any:
        monkeypatch.setattr(metrics, "_read_departed", departed)
        fold_departed(run)
        return departed(run)

    monkeypatch.setattr(metrics, "_read_departed", folding_first)
    assert read(worker.render())["freehold_requests_total", *LABELS] == 1
    assert not list(tmp_path.glob(f"*-{DEAD}.snapshot"))
    assert read(worker.render())["freehold_requests_total", *LABELS] == 1


def test_labels_are_bounded(tmp_path: Path) -> None:
    worker = Metrics(tmp_path, "w0")
    for number in range(MAX_SERIES + 50):
        worker.observe((f"lab/{number}", "lab", "chat", "200"), 1000, 0, 0, None)
        worker.attempt(f"lab/{number}", "ok")
    found = read(worker.render())
    assert found["freehold_requests_total", "other", "other", "chat", "200"] == 50
    assert found["freehold_attempts_total", "other", "ok"] == 50
    assert sum(count for key, count in found.items() if key[0] == "freehold_requests_total") == MAX_SERIES + 50


def test_garbage_in_the_folder_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "w9-1-1.snapshot").write_bytes(b"\x93garbage")
    (tmp_path / "departed.metrics").write_bytes(b"")
    (tmp_path / "ledger.metrics").write_bytes(b"\xff")
    worker = Metrics(tmp_path, "w0")
    worker.decision("direct")
    assert read(worker.render())["freehold_decisions_total", "direct"] == 1


def test_a_new_gateway_begins_anew(tmp_path: Path) -> None:
    worker = Metrics(tmp_path, "w0")
    worker.decision("direct")
    worker.save()
    save_ledger(tmp_path, LedgerTotals(calls={"priced": 1}))
    (tmp_path / "gateway.pid").touch()
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.pid"]


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be saved"):
        Metrics(tmp_path / "absent", "w0").save()
