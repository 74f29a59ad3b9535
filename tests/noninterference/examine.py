"""After a run: what is where. Each sink's bytes are searched for canaries of every label, and the table is made."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from drive import Drive
from house import House
from markers import Hit, Markers
from sinks import LABELS, NAMES, PROVIDERS, WEB, Sink, World

NOBODY = Sink("", "nothing")
"""What no request may be in, whatever its label."""
ENGINES = ("engine-a", "engine-b")


class Finding(NamedTuple):
    """Canaries of one label in one sink."""

    sink: str
    clearance: str
    label: str
    cleared: bool
    hits: int
    requests: frozenset[int]
    forms: frozenset[str]
    example: str

    @property
    def leak(self) -> bool:
        return bool(self.hits) and not self.cleared


class Examination:
    """`kept`: what may be in files that keep answers by design, by the beginning of their path under FREEHOLD_HOME."""

    def __init__(self, markers: Markers, kept: dict[str, Sink]) -> None:
        self._markers = markers
        self._kept = kept
        self.findings: list[Finding] = []
        self.sinks: list[str] = []

    def all(self, house: House, world: World, drive: Drive, folder: Path) -> None:
        for sink in (*PROVIDERS, WEB):
            self._look(
                f"provider {sink.name}" if sink is not WEB else "web server",
                sink,
                world.providers[sink.name].kept.all(),
            )
        self._look("name server", NAMES, world.asked.all())
        owned = PROVIDERS[-1]
        for name in ENGINES:
            self._look(name, owned._replace(name=name), _content([folder / name]))
        for what, place, files in (
            ("files in FREEHOLD_HOME", "home", sorted((house.folder / "home").rglob("*"))),
            ("working folder and cores", "cwd", sorted((house.folder / "cwd").rglob("*"))),
            ("temporary files", "tmp", sorted((house.folder / "tmp").rglob("*"))),
        ):
            base = house.folder / place
            named = {self._kept_in(path, base) for path in files} - {None}
            rest = [path for path in files if self._kept_in(path, base) is None]
            self._look(what, NOBODY, _content(rest), [str(path.relative_to(base)) for path in rest])
            for start in sorted(one for one in named if one is not None):
                mine = [path for path in files if self._kept_in(path, base) == start]
                self._look(f"{start} in FREEHOLD_HOME", self._kept[start], _content(mine))
        self._look("stdout and stderr", NOBODY, _content([house.folder / "said"]))
        self._look("pages of the gateway", NOBODY, [page.body for page in drive.pages], [p.what for p in drive.pages])
        self._answers(drive)

    def _kept_in(self, path: Path, base: Path) -> str | None:
        name = str(path.relative_to(base))
        return next((start for start in self._kept if name.startswith(start)), None) if base.name == "home" else None

    def _look(self, name: str, sink: Sink, pieces: Iterable[bytes], names: list[str] | None = None) -> None:
        self.sinks.append(name)
        hits: dict[str, list[Hit]] = {label: [] for label in LABELS}
        where: dict[str, str] = {}
        for number, data in enumerate(pieces):
            for hit in self._markers.find(data):
                if sink is NOBODY and WEB.cleared(hit.label) and _a_host(data, hit):
                    continue
                hits[hit.label].append(hit)
                where.setdefault(hit.label, f"{names[number] if names else ''} {_around(data, hit)}".strip())
        for label in LABELS:
            found = hits[label]
            self.findings.append(
                Finding(
                    name, "nothing" if sink is NOBODY or sink.level == "nothing" else str(sink), label,
                    sink.level != "nothing" and sink.cleared(label), len(found),
                    frozenset(hit.request for hit in found if hit.request is not None),
                    frozenset(hit.form for hit in found), where.get(label, ""),
                )
            )  # fmt: skip

    def _answers(self, drive: Drive) -> None:
        """An answer may hold what its own request held, and nothing of another one's."""
        self.sinks.append("answers to others")
        wrong: dict[str, list[tuple[int, str]]] = {label: [] for label in LABELS}
        for asked, told in drive.answers:
            data = told.head + told.body
            for hit in self._markers.find(data):
                if hit.label != asked.label or (hit.request not in (None, asked.number, 0)):
                    wrong[hit.label].append((asked.number, _around(data, hit)))
        for label, found in wrong.items():
            requests = frozenset(number for number, _ in found)
            example = found[0][1] if found else ""
            self.findings.append(
                Finding("answers to others", "nothing", label, False, len(found), requests, frozenset(), example)
            )

    @property
    def leaks(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.leak]

    def unseen(self) -> list[str]:
        """Where canaries should have been and were not: a run in which they are not there shows nothing."""
        wanted = [f"provider {sink.name}" for sink in PROVIDERS] + list(ENGINES)
        return [
            f"no canary of {finding.label} in {finding.sink}, which is cleared for it"
            for finding in self.findings
            if finding.sink in wanted and finding.cleared and not finding.hits
        ]

    def forms(self) -> Counter[str]:
        """How canaries were written where they were seen rightly."""
        return Counter(form for finding in self.findings if finding.cleared for form in finding.forms)


def _content(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes() + b"\n" + str(path).encode()
        else:
            yield b""


def _a_host(data: bytes, hit: Hit) -> bool:
    """Whether this is the name of a host that a URL was fetched from, which is a sink, and named in its receipt."""
    return b".pictures.example" in data[hit.at : hit.at + 60]


def _around(data: bytes, hit: Hit) -> str:
    return f"[{hit.form}] " + data[max(0, hit.at - 60) : hit.at + 40].decode("ascii", "replace").replace("\n", " ")


def table(findings: list[Finding], sent: dict[str, int]) -> str:
    """One line for each sink: for each label how many requests' canaries were seen, and whether they may be."""
    sinks = list(dict.fromkeys(finding.sink for finding in findings))
    long = {"confidential": "conf", "restricted": "restr", "region:": ""}
    short = {label: label for label in LABELS}
    for word, less in long.items():
        short = {label: name.replace(word, less) for label, name in short.items()}
    lines = [f"{'sink':<34}{'cleared for':<32}" + "".join(f"{short[label]:>12}" for label in LABELS)]
    lines.append(f"{'canaries sent':<66}" + "".join(f"{sent.get(label, 0):>12}" for label in LABELS))
    for sink in sinks:
        mine = {finding.label: finding for finding in findings if finding.sink == sink}
        cells = []
        for label in LABELS:
            one = mine[label]
            cells.append(f"LEAK {one.hits}" if one.leak else str(one.hits) if one.cleared else "-")
        lines.append(f"{sink:<34}{mine[LABELS[0]].clearance:<32}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)
