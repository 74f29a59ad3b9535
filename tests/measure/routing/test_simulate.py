"""The simulated machine does what it was measured to do, and the simulation's table says what is claimed of it."""

import csv
import gzip
import random
from pathlib import Path

import pytest

from freehold.measure.routing.simulate import (
    PLACES,
    READS,
    STEP,
    STEP_EACH,
    Machine,
    Outcome,
    Request,
    at_load,
    outcomes,
    read_trace,
    run,
    tables,
    work,
)

DATA = Path(__file__).parents[4] / "shared" / "data" / "capacity"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/capacity is not here")


def firsts(requests: list[Request], patience: float = 1e9) -> dict[int, float]:
    found: dict[int, float] = {}
    machine = Machine(lambda number, first, late: found.__setitem__(number, -1.0 if late else first), patience)
    for number, request in enumerate(requests):
        machine.advance(request.at)
        machine.add(number, request)
    machine.advance(1e6)
    assert (machine.inside, machine.waiting, machine.unread) == (0, 0, 0)
    return found


def test_prompts_are_read_one_after_another() -> None:
    found = firsts([Request(0.0, 1407, 1), Request(0.0, 2814, 1), Request(5.0, 1407, 1)])
    assert found == {0: pytest.approx(0.1), 1: pytest.approx(0.3), 2: pytest.approx(0.1)}


def test_a_request_beyond_the_places_waits_for_one_to_end() -> None:
    crowd = [Request(0.0, 1, 101) for _ in range(PLACES)]
    found = firsts([*crowd, Request(0.1, 1, 1)])
    full = 100 * (STEP + STEP_EACH * PLACES)
    assert found[PLACES] == pytest.approx(full + (PLACES + 1) / READS - 0.1, rel=0.01)
    assert firsts([*crowd, Request(0.1, 1, 1)], patience=1.0)[PLACES] == -1.0


def test_the_load_is_what_the_machine_can_do() -> None:
    rng, now, requests = random.Random(1), 0.0, []
    for _ in range(3000):
        now += rng.expovariate(1.0)
        requests.append(Request(now, rng.randrange(1, 2000), rng.randrange(1, 400)))
    trace = at_load(requests, 0.9)
    assert trace[-1].at == pytest.approx(work(trace) / 0.9)
    assert run(trace, "all owned", 1).p99 < 5.0
    over = at_load(trace, 1.5)
    assert run(over, "all owned", 1).p99 > 20.0
    ours = run(over, "Freehold", 1)
    assert ours.p99 < 1.5
    assert 0.5 < ours.owned < 0.8
    assert ours == run(over, "Freehold", 1), "the same seed gives the same run"


@needs_data
def test_the_machine_is_as_fast_as_it_was_measured() -> None:
    """Time per output token of N requests at once, each with a prompt of P and an answer of A tokens."""
    errors = []
    with gzip.open(DATA / "serving_points.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            mine = (row["model_path"], row["system"], row["backend"], row["tp_size"])
            if mine == ("Qwen/Qwen3-32B", "h100_sxm", "trtllm", "1.0") and float(row["batch_size"]) <= PLACES:
                if row["osl"] not in ("128", "256", "512"):
                    continue  # one point of another series, where the machine was a fifth faster than this
                n, prompt, answer = float(row["batch_size"]), float(row["isl"]), float(row["osl"])
                milliseconds = 1000 * (STEP + STEP_EACH * n + n * prompt / READS / answer)
                errors.append(abs(milliseconds / float(row["silicon_tpot_ms"]) - 1))
    assert len(errors) == 36
    assert sum(errors) / len(errors) < 0.04
    assert max(errors) < 0.18


@needs_data
def test_prices_that_move_with_load_cost_little_more_than_owning_and_wait_no_longer_than_renting() -> None:
    found = {
        (one.trace, one.load, one.policy): one
        for one in outcomes(DATA / "azure_llm_conv.csv.gz", DATA / "azure_llm_code.csv.gz", (1,), (0.8,))
    }

    def of(trace: str, policy: str) -> Outcome:
        return found[trace, 0.8, policy]

    for trace in ("conversation", "code"):
        ours, rented, even = of(trace, "Freehold"), of(trace, "all rented"), of(trace, "round robin")
        assert ours.p99 < 1.1 * rented.p99
        assert ours.rent < rented.rent
        assert ours.p99 < even.p99
        patient = of(trace, "Freehold, patient")
        assert patient.rent < ours.rent, "who can wait pays less"
        assert patient.p99 < 12.0
        for policy in ("all owned", "fixed price"):
            assert ours.p99 < of(trace, policy).p99 / 10
    assert of("conversation", "Freehold").rent < 0.1 * of("conversation", "round robin").rent


@needs_data
def test_the_table_has_a_line_for_each() -> None:
    lines = tables(DATA / "azure_llm_conv.csv.gz", DATA / "azure_llm_code.csv.gz", (1,), (1.2,))
    assert len(lines) == 2 + 2 * 6
    assert {line.count("|") for line in lines} == {9}


@needs_data
def test_traces_are_read_in_order_of_time() -> None:
    trace = read_trace(DATA / "azure_llm_code.csv.gz")
    assert len(trace) == 8819
    assert trace[0].at == 0.0
    assert all(before.at <= after.at for before, after in zip(trace, trace[1:], strict=False))
