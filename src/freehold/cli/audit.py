"""`freehold audit`: what left this gateway, and proof that the record of it was not changed.

`reconcile` compares it with what strict mode's egress process and the kernel say of the same run.

Works beside a running gateway and without one, on the state folder or on a file that `export` wrote, with no network
and no secret. What a log can show and what it cannot stands in record/receipts/verify.py.
"""

import os
import sys
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from freehold.cli import audit_view as view
from freehold.cli import ledger, output

if TYPE_CHECKING:
    from freehold.record.receipts.keys import Verifier
    from freehold.record.receipts.report import Summary
    from freehold.record.receipts.source import Source
    from freehold.record.refusals import Refusals

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_log = click.argument("log", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
_key = click.option("--key", metavar="KEY", help="Whose signature to trust: name+hash+key, or a file that holds it.")


@click.group()
def command() -> None:
    """Verify, export and summarise the receipts of outward calls.

    Every call leaves one, with label, place and bytes, never content. FILE is an export; without it, the log in the
    state folder is read. Keep what `anchor` prints where this machine cannot write: it shows later that nothing was
    changed, even by somebody who has the signing key.
    """


@command.command()
@_log
@click.option("--anchor", "anchors", multiple=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--proof", metavar="FILE", type=click.File("rb"), help="Check this one receipt instead of a whole log.")
@_key
@_json
def verify(log: Path | None, anchors: tuple[Path, ...], proof: BinaryIO | None, key: str | None, as_json: bool) -> None:
    """Check that no receipt was changed, taken away or cut off, and none is missing.

    --anchor is a head that was kept elsewhere (may be given again). Exits 1 when something is wrong.
    """
    from freehold.record.receipts.verify import verify as walk

    if proof is not None:
        if log is not None or anchors:
            raise click.UsageError("--proof needs nothing but a key")
        _check_proof(proof, _verifier(key), as_json)
        return
    source = _source(log)
    verdict = walk(source, key=_verifier(key), anchors=[path.read_text("utf-8") for path in anchors])
    if as_json:
        output.emit(view.described(verdict, source.name))
    else:
        view.show(verdict, source.name)
    if not verdict.whole:
        raise click.exceptions.Exit(1)


@command.command()
@click.option("-o", "--output", "out", metavar="FILE.zip", help="Where to write it; receipts-LINES.zip here else.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@_json
def export(out: str | None, force: bool, as_json: bool) -> None:
    """Write the log, up to its newest signed head, into one file.

    `freehold audit verify FILE` checks it anywhere. It holds no content and no secret.
    """
    from freehold.errors import BadRequest
    from freehold.record.receipts import source as reading
    from freehold.record.receipts.proof import newest_head

    source = _source(None)
    head, _ = newest_head(source)
    path = Path(out or f"receipts-{head.size}.zip")
    if path.exists() and not force:
        raise BadRequest(f"{path} is there already", code="file_exists", hint="--force replaces it, -o names another")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            reading.export(source, head.size, file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if as_json:
        output.emit({"file": path, "lines": head.size, "log": head.log, "bytes": path.stat().st_size})
    else:
        output.say(f"wrote {head.size:,} lines of {head.log} to {path}")


@command.command()
@click.argument("call", metavar="CALL_ID")
@click.argument("log", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
def prove(call: str, log: Path | None) -> None:
    """Print the proof of one receipt, as JSON.

    CALL_ID is a request's id with the number of the attempt: ID-1. `freehold audit verify --proof FILE` checks it
    without the log.
    """
    from freehold.record.receipts.proof import prove as proof_of

    output.emit(proof_of(_source(log), call))


@command.command()
@_json
def anchor(as_json: bool) -> None:
    """Print the newest signed head, to be kept elsewhere.

    Put it where whoever can write here cannot: mail it, commit it, have it time-stamped, hand it to an auditor.
    `freehold audit verify --anchor FILE` holds the log against it.
    """
    from freehold.record.receipts.proof import newest_head

    head, text = newest_head(_source(None))
    if as_json:
        output.emit({"log": head.log, "lines": head.size, "root": head.root.hex(), "key": str(head.key), "note": text})
        return
    sys.stdout.write(text)
    sys.stdout.flush()
    output.say(f"{head.size:,} lines, signed {view.when(head.at)}; keep this where this machine cannot write")


@command.command()
@_log
@click.option("--since", metavar="TIME", callback=ledger.moment, help="From here on: 7d, 12h, 2027-01-31.")
@click.option("--until", metavar="TIME", callback=ledger.moment, help="Up to here, this moment not included.")
@click.option("--anchor", "anchors", multiple=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--tests",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Results of the negative tests, as make test-noninterference writes them under FREEHOLD_HOME.",
)
@_key
@_json
def report(
    log: Path | None,
    since: datetime | None,
    until: datetime | None,
    anchors: tuple[Path, ...],
    tests: Path | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Show what went where: calls and bytes by label, provider, region, model and key.

    With the versions of the rules that were in force, what checks and labels refused here (from the ledger, which is
    not signed; not with FILE), the negative tests that were run, and whether the log is whole: it is verified on the
    way. Exits 1 when it is not.
    """
    from freehold.home import home
    from freehold.record.receipts.report import Summary, read_tests
    from freehold.record.receipts.verify import verify as walk

    if since and until and since >= until:
        raise click.BadParameter("is not after --since", param_hint="--until")
    results = read_tests(tests or home() / "noninterference.json")
    source = _source(log)
    summary = Summary(_nanoseconds(since), _nanoseconds(until))
    kept = [path.read_text("utf-8") for path in anchors]
    verdict = walk(source, key=_verifier(key), anchors=kept, each=summary.add)
    refused = _refused(summary) if log is None else None
    if as_json:
        output.emit(view.reported(summary, verdict, results, refused, source.name))
    else:
        view.show_report(summary, verdict, results, refused, source.name)
    if not verdict.whole:
        raise click.exceptions.Exit(1)


@command.command("reconcile")
@click.option("--run", "name", metavar="NAME", help="Which run of strict mode; the newest where it is not given.")
@click.option("--remove", is_flag=True, help="If the run has ended and all agrees, remove its record.")
@_json
def reconcile_(name: str | None, remove: bool, as_json: bool) -> None:
    """Hold receipts, the egress process's record and the kernel's counters against each other.

    For a run of `freehold up --strict-egress`. Exits 1 when they do not agree. docs/egress.md says what is compared.
    """
    from freehold.egress.pieces import pieces
    from freehold.egress.pieces import record as recorded
    from freehold.egress.reconcile import reconcile
    from freehold.egress.records import FOLDER
    from freehold.egress.witness import latest, runs
    from freehold.errors import BadRequest, NotFound
    from freehold.home import located
    from freehold.record.receipts.leaf import decode
    from freehold.record.receipts.source import lines as receipts

    folder = located(os.environ) / FOLDER
    found = [run for run in runs(folder) if name in (None, run.name)]
    if not found:
        raise NotFound(
            f"there is no run {name or 'of strict mode'} in {folder}",
            code="no_run",
            hint="freehold up --strict-egress begins one",
        )
    run, source = found[-1], _source(None)
    if run.removed:
        raise NotFound(
            f"the record of {run.name} was removed {view.when(run.removed / 1e9)}, after its accounts had agreed",
            code="no_run",
        )
    if remove and not run.ended:
        raise BadRequest(f"{run.name} has not ended, and its record is needed until then", code="run_not_ended")
    leaves = (decode(line.rstrip(b"\n")) for part in source.parts for line in receipts(part) if line.endswith(b"\n"))
    record = list(recorded(folder, run.name))  # before the counters, which then have all of it
    now = latest(run)
    counted = now or (run.counted if run.witnessed else None)
    result = reconcile(
        run.name, leaves, record, counted, began=run.began, ended=run.ended, now=time.time_ns(),
        current=bool(run.ended) or now is not None,
    )  # fmt: skip
    if as_json:
        output.emit({**view.compared(result), "ended": view.when(run.ended / 1e9) if run.ended else None})
    else:
        view.show_compared(result)
    if not result.agrees:
        raise click.exceptions.Exit(1)
    if remove:
        run.removed = time.time_ns()
        run.save(folder)
        for path in pieces(folder, run.name):
            path.unlink()


def _check_proof(proof: BinaryIO, key: "Verifier | None", as_json: bool) -> None:
    from freehold.record.receipts.proof import MAX_PROOF, check

    proven = check(proof.read(MAX_PROOF), key)
    if as_json:
        output.emit(proven)
    else:
        view.show_proven(proven)


def _refused(summary: "Summary") -> "Refusals | None":
    """What was refused in the time of a report; None where there is no ledger."""
    from freehold.errors import NotFound
    from freehold.home import database
    from freehold.record.outcomes import opened
    from freehold.record.refusals import refusals

    try:
        connection = opened(database())
    except NotFound:
        return None
    with closing(connection):
        return refusals(connection, summary.since, summary.until)


def _source(log: Path | None) -> "Source":
    from freehold.home import located
    from freehold.record.receipts.places import Places
    from freehold.record.receipts.source import bundle_source, folder_source

    if log is not None and not log.is_dir():
        return bundle_source(log)
    places = Places(log, {}) if log is not None else Places(located(os.environ), os.environ)
    return folder_source(places.folder, places.second)


def _verifier(key: str | None) -> "Verifier | None":
    from freehold.record.receipts.keys import Verifier

    if key is None:
        return None
    path = Path(key)
    return Verifier.parse(path.read_text("utf-8") if "+" not in key and path.is_file() else key)


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp()) * 10**9
