"""`freehold check`: whether weights made here say what their original says."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.own.parity.compare import Report
    from freehold.own.weights.store import Artefact, Store, Version

FIELDS = ("quantisation", "made", "verdict", "tokens", "greedy", "top-1", "divergence", "template", "end of text")


@click.command()
@click.argument("name", metavar="NAME[@vN]")
@click.option("--quantisation", "-q", help="Only this one, such as Q4_K_M; default: everything made here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the whole report of each.")
def command(name: str, quantisation: str | None, as_json: bool) -> int:
    """Compare weights that were converted, quantised or merged here with their original.

    Both are asked the same: tokens, what greedy decoding says, how likely each next token is, what the chat template
    makes of conversations, which tokens end an answer. The verdict is stored: what fails is quarantined and does not
    serve. Needs torch and transformers where the original is in safetensors. The exit status is 1 unless everything
    passed.
    """
    from freehold.own.weights.store import open_store

    store = open_store()
    version = store.find(name)
    chosen = _chosen(version, quantisation)
    reports, version = asyncio.run(_judge(store, version, chosen))
    rows = [(version.artefact(one.id), report) for one, report in zip(chosen, reports, strict=True)]
    if as_json:
        output.emit({"name": version.full_name, "artefacts": [_entry(one, report) for one, report in rows]})
    else:
        output.table([*FIELDS], [cells(one, report) for one, report in rows])
        for one, report in rows:
            _explain(one, report)
    return 0 if all(one.verdict == "passed" for one, _ in rows) else 1


def _chosen(version: "Version", quantisation: str | None) -> "list[Artefact]":
    from freehold.errors import EngineError
    from freehold.own.parity.gate import judged

    made = judged(version)
    if quantisation is not None:
        wanted = quantisation.lower()
        made = [one for one in made if wanted in (one.quantisation.lower(), one.id.lower())]
    if not made:
        there = ", ".join(one.quantisation for one in judged(version))
        raise EngineError(
            f"{version.full_name} has nothing to check" + (f" in {quantisation}" if quantisation else ""),
            code="nothing_to_check",
            retry="no",
            hint=f"made here: {there}"
            if there
            else "its weights are as they were published; only what is made here is",
        )
    return made


async def _judge(store: "Store", version: "Version", chosen: "list[Artefact]") -> "tuple[list[Report | None], Version]":
    import msgspec

    from freehold.own.parity.compare import Report
    from freehold.own.parity.gate import Originals, judge
    from freehold.own.parity.original import NoReference

    originals: Originals = {}
    reports: list[Report | None] = []
    for one in chosen:
        with output.progress(f"comparing {one.quantisation} with its original"):
            try:
                version = await judge(store, version, one, originals)
            except NoReference as error:
                output.warn(f"{one.quantisation}: {error.message}")
                if error.hint:
                    output.hint(error.hint)
                reports.append(None)
                continue
        reports.append(msgspec.convert(version.artefact(one.id).evidence, Report))
    return reports, version


def _entry(one: "Artefact", report: "Report | None") -> dict[str, Any]:
    return {
        "id": one.id,
        "quantisation": one.quantisation,
        "made": one.made,
        "verdict": one.verdict,
        "report": report,
    }


def cells(one: "Artefact", report: "Report | None") -> list[object]:
    checks = {check.name: check for check in report.checks} if report is not None else {}
    return [
        one.quantisation,
        one.made,
        one.verdict,
        *(checks[name].figure if name in checks else None for name in FIELDS[3:]),
    ]


def _explain(one: "Artefact", report: "Report | None") -> None:
    """Says what failed, and where."""
    if report is None:
        return
    for note in report.notes:
        output.say(f"{one.quantisation}: {note}")
    for check in report.checks:
        if check.passed is False:
            output.warn(f"{one.quantisation}: {check.name}: {check.figure}")
    for found in report.findings:
        output.say(f"  {found.check}, {found.where!r} at {found.at}: expected {found.expected!r}, got {found.got!r}")
    if report.more:
        output.say(f"  and {report.more} more; --json prints what was kept")
    if not report.passed:
        output.hint(
            f"{one.quantisation} is quarantined, and the same bytes would fail again: serve another quantisation, or "
            "freehold weights rm the version and pull it after an upgrade of freehold"
        )
