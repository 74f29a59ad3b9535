"""The Prometheus page, read by a parser that forgives nothing."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.record.exposition import Page

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')


def parse(page: bytes) -> tuple[dict[str, str], Samples]:
    """Types by metric, and samples. Checks the grammar, that metrics come in one piece after HELP and TYPE, that no
    sample comes twice, that counters are not negative, and that histograms are cumulative and complete."""
    text = page.decode()
    assert text.endswith("\n")
    types: dict[str, str] = {}
    samples: Samples = {}
    helped, current = "", ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, about = line.split(" ", 3)
            assert _NAME.fullmatch(name)
            assert about
            assert name not in types
            helped = name
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == helped
            assert kind in ("counter", "gauge", "histogram")
            types[name] = kind
            current = name
        else:
            head, _, number = line.rpartition(" ")
            name, brace, rest = head.partition("{")
            stem = re.sub(r"_(bucket|sum|count)$", "", name) if types[current] == "histogram" else name
            assert stem == current
            labels = []
            if brace:
                assert rest.endswith("}")
                rest = rest[:-1]
                while rest:
                    match = _LABEL.match(rest)
                    assert match, rest
                    value = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), match[2])
                    labels.append((match[1], value))
                    rest = rest[match.end() :]
            key = (name, tuple(labels))
            assert key not in samples
            samples[key] = float(number)
            assert types[current] == "gauge" or samples[key] >= 0
    for name, kind in types.items():
        if kind == "histogram":
            check_histogram(name, samples)
    return types, samples


def check_histogram(name: str, samples: Samples) -> None:
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (sample, labels), value in samples.items():
        if sample == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((bound, value))
    for labels, buckets in series.items():
        assert buckets == sorted(buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (float("inf"), samples[f"{name}_count", labels])
        assert (f"{name}_sum", labels) in samples


@given(st.lists(st.tuples(st.text(), st.text(), st.integers(0, 10**15)), unique_by=lambda row: row[:2], max_size=8))
def test_any_label_survives(rows: list[tuple[str, str, int]]) -> None:
    page = Page()
    page.counter("things_total", "Things.", ("a", "b"), [((first, second), count) for first, second, count in rows])
    _, samples = parse(page.render())
    assert samples == {("things_total", (("a", a), ("b", b))): count for a, b, count in rows}


def test_a_histogram_is_cumulative_and_in_seconds() -> None:
    page = Page()
    page.histogram("wait_seconds", "Waiting.", ("x",), (5_000, 1_000_000), [(("y",), [2, 3, 4], 2_500_000)])
    types, samples = parse(page.render())
    assert types == {"wait_seconds": "histogram"}
    found = {(name, dict(labels).get("le")): value for (name, labels), value in samples.items()}
    assert found == {
        ("wait_seconds_bucket", "0.005"): 2,
        ("wait_seconds_bucket", "1"): 5,
        ("wait_seconds_bucket", "+Inf"): 9,
        ("wait_seconds_sum", None): 2.5,
        ("wait_seconds_count", None): 9,
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, b"0"), (3, b"3"), (0.25, b"0.25"), (1e-9, b"1e-09"), (1e18, b"1" + b"0" * 18)]
)
def test_numbers_are_exact(value: Any, shown: bytes) -> None:
    page = Page()
    page.gauge("g", "A gauge.", value)
    assert page.render().split(b"\n")[2] == b"g " + shown
    assert parse(page.render())[1] == {("g", ()): value}


def test_a_page_of_nothing_is_a_page() -> None:
    page = Page()
    page.labelled_gauge("open", "Open.", "model", {})
    assert parse(page.render()) == ({"open": "gauge"}, {})


@pytest.mark.parametrize(
    "page",
    [
        b"x 1\n",
        b"# HELP x y\n# TYPE x counter\nx -1\n",
        b"# HELP x y\n# TYPE x counter\nx 1\nx 1\n",
        b"# HELP x y\n# TYPE x counter\nx{a=b} 1\n",
    ],
)
def test_the_parser_is_strict(page: bytes) -> None:
    with pytest.raises((AssertionError, KeyError)):
        parse(page)
