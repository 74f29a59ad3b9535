"""The Prometheus text format, version 0.0.4: HELP and TYPE once per metric, labels escaped, buckets cumulative.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Mapping, Sequence

Labels = Sequence[str]


class Page:
    """Collects metrics in order and renders them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def counter(self, name: str, text: str, names: Labels, rows: Iterable[tuple[Labels, float]]) -> None:
        self._begin(name, text, "counter")
        for values, count in rows:
            self._lines.append(f"{name}{_labels(names, values)} {_number(count)}")

    def gauge(self, name: str, text: str, value: float) -> None:
        self._begin(name, text, "gauge")
        self._lines.append(f"{name} {_number(value)}")

    def labelled_gauge(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        self._begin(name, text, "gauge")
        for key, value in values.items():
            self._lines.append(f"{name}{_labels((label,), (key,))} {_number(value)}")

    def histogram(
        self,
        name: str,
        text: str,
        names: Labels,
        bounds: Sequence[int],
        rows: Iterable[tuple[Labels, Sequence[int], int]],
    ) -> None:
        """`bounds` and each row's total are microseconds; the page shows seconds. Counts are per bucket."""
        self._begin(name, text, "histogram")
        edges = [_number(bound / 1e6) for bound in bounds] + ["+Inf"]
        for values, counts, total in rows:
            seen = 0
            for edge, count in zip(edges, counts, strict=True):
                seen += count
                self._lines.append(f"{name}_bucket{_labels((*names, 'le'), (*values, edge))} {seen}")
            self._lines.append(f"{name}_sum{_labels(names, values)} {_number(total / 1e6)}")
            self._lines.append(f"{name}_count{_labels(names, values)} {seen}")

    def render(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()

    def _begin(self, name: str, text: str, kind: str) -> None:
        self._lines.append(f"# HELP {name} {text}")
        self._lines.append(f"# TYPE {name} {kind}")


def _labels(names: Labels, values: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
