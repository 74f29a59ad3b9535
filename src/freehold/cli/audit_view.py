"""What `freehold audit` shows: verdicts, receipts and sums, as text and as JSON."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from freehold.cli import ledger, output

if TYPE_CHECKING:
    from freehold.egress.reconcile import Reconciled
    from freehold.record.receipts.proof import Proven
    from freehold.record.receipts.report import Summary, Tests
    from freehold.record.receipts.verify import Verdict
    from freehold.record.refusals import Refusals

NO_TESTS = "negative tests: none were run"
_SHOWN, _LONGEST = 5, 200
"""Failures of tests that are shown, and characters of each: one may quote what a process said."""


def when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show(verdict: "Verdict", name: str) -> None:
    """A verdict: what is wrong as a table on stdout, the rest to the person."""
    if verdict.findings:
        columns: list[output.Column | str] = [output.Column("where", whole=True), "finding"]
        output.table(columns, [(one.where, one.what) for one in verdict.findings])
        if verdict.more:
            output.say(f"and {verdict.more:,} more")
        output.say(f"{name} is not whole: {len(verdict.findings) + verdict.more:,} findings")
        output.hint("an export or an anchor from before shows up to where it was whole")
    else:
        output.say(f"{verdict.calls:,} receipts of {verdict.log}: none changed, none missing, none cut off")
    _say_signed(verdict)


def _say_signed(verdict: "Verdict") -> None:
    if not verdict.key:
        return
    output.say(f"signed {when(verdict.at)} up to line {verdict.signed:,} by {verdict.key}")
    if verdict.unnumbered:
        output.say(
            f"receipts without their worker's count, beside which a missing one does not show: {verdict.unnumbered:,}"
        )
    if verdict.lines > verdict.signed:
        unsigned = verdict.lines - verdict.signed
        output.say(f"not signed yet, so that a change would not show: the last {unsigned:,} lines")
    if verdict.running:
        output.say(f"calls that had not ended: {verdict.running:,}")
    if verdict.anchors:
        output.say(f"anchors that agree: {verdict.anchors:,}")
    if not verdict.trusted:
        output.say("the key was found beside the log: whoever has it could have written all of this")
        output.hint("--anchor FILE, with what freehold audit anchor printed before, or --key KEY shows more")


def described(verdict: "Verdict", name: str) -> dict[str, Any]:
    """A verdict as JSON."""
    return {
        "source": name,
        "whole": verdict.whole,
        "log": verdict.log,
        "lines": verdict.lines,
        "receipts": verdict.calls,
        "signed": verdict.signed,
        "signed_at": when(verdict.at) if verdict.at else None,
        "heads": verdict.heads,
        "key": verdict.key or None,
        "trusted": verdict.trusted,
        "anchors": verdict.anchors,
        "unnumbered": verdict.unnumbered,
        "running": verdict.running,
        "findings": verdict.findings,
        "more": verdict.more,
    }


def show_proven(proven: "Proven") -> None:
    receipt = proven.receipt
    rows = [
        ("call", receipt.call),
        ("at", when(receipt.at / 1e9)),
        ("key", receipt.key),
        ("label", receipt.label),
        ("went to", receipt.deployment or receipt.host),
        ("host", receipt.host),
        ("region", receipt.region),
        ("cleared for", receipt.clearance),
        ("rules", receipt.policy),
        ("bytes out, in", f"{receipt.out:,}, {receipt.back:,}"),
        ("digest", receipt.body),
        ("declassified by", receipt.declassifier),
        ("outcome", receipt.outcome),
    ]
    output.table(["receipt", "value"], [(name, value or None) for name, value in rows])
    output.say(f"line {proven.index:,} of {proven.log}, under the head of {when(proven.at)}, signed by {proven.key}")
    if not proven.trusted:
        output.say("the key came with the proof")
        output.hint("--key KEY says whose signature you trust")


def show_report(
    summary: "Summary", verdict: "Verdict", tests: "Tests | None", refused: "Refusals | None", name: str
) -> None:
    """A report: one table of flows, one of rules, and what is to be said of tests and log."""
    columns: list[output.Column | str] = [
        "label",
        "to",
        output.Column("region"),
        output.Column("model", spare=True),
        output.Column("key", spare=True),
        output.Column("cleared for", spare=True),
        output.Column("calls", right=True),
        output.Column("bytes out", right=True),
        output.Column("bytes in", right=True),
        output.Column("not ok", right=True),
        output.Column("declassified by", spare=True),
    ]
    rows = []
    for row in summary.rows():
        flow, total = row.flow, row.sum
        to = flow.provider or f"{flow.via} {flow.host}".strip()
        rows.append(
            (
                flow.label or None, f"{to} (owned)" if flow.owned else to, flow.region or None, flow.model or None,
                flow.key or None, flow.clearance or None, f"{total.calls:,}", f"{total.out:,}", f"{total.back:,}",
                f"{total.failed:,}", flow.declassifier or None,
            )
        )  # fmt: skip
    if rows:
        output.table(columns, rows)
    else:
        output.say("no calls were made in this time")
    for version, rules in sorted(summary.policies.items(), key=lambda item: item[1].first):
        during = f"{when(rules.first / 1e9)} to {when(rules.last / 1e9)}"
        output.say(f"rules {version or '(not known)'}: {rules.calls:,} calls, {during}")
    if refused is not None:
        output.say(f"refused here: {ledger.refusals(refused)}")
    output.say(_tests(tests))
    show(verdict, name)


def _tests(tests: "Tests | None") -> str:
    if tests is None:
        return NO_TESTS
    failed = ", none failed"
    if tests.failed or tests.failures:
        shown = [" ".join(one.split())[:_LONGEST] for one in tests.failures[:_SHOWN]]
        more = len(tests.failures) - len(shown)
        failed = f", {max(tests.failed, len(tests.failures)):,} FAILED: {'; '.join(shown)}"
        failed += f"; and {more:,} more" if more else ""
    sinks = f" in {len(tests.sinks):,} sinks" if tests.sinks else ""
    sent = f", {tests.canaries:,} canaries looked for{sinks}" if tests.canaries else ""
    scope = tests.scope or "scope unknown"
    return f"negative tests of {tests.at}, version {tests.version}, {scope}: {tests.passed:,} passed{failed}{sent}"


def reported(
    summary: "Summary", verdict: "Verdict", tests: "Tests | None", refused: "Refusals | None", name: str
) -> dict[str, Any]:
    """A report as JSON."""
    from msgspec.structs import asdict

    return {
        "since": when(summary.since / 1e9) if summary.since is not None else None,
        "until": when(summary.until / 1e9) if summary.until is not None else None,
        "flows": [{**asdict(row.flow), **asdict(row.sum)} for row in summary.rows()],
        "rules": [
            {"version": version, "calls": rules.calls, "first": when(rules.first / 1e9), "last": when(rules.last / 1e9)}
            for version, rules in sorted(summary.policies.items(), key=lambda item: item[1].first)
        ],
        "refused": refused,
        "tests": tests,
        "log": described(verdict, name),
    }


def show_compared(result: "Reconciled") -> None:
    """Three accounts of a run: differences as a table on stdout, else what agrees."""
    rows = [
        ("receipts", f"{result.receipts:,}", f"{result.receipts_out:,}"),
        ("egress process", f"{result.sent + result.fetched:,}", f"{result.sent_out:,}"),
    ]
    if result.witnessed:
        low, high = result.carried
        rows.append(("kernel", f"{result.kernel_packets:,} packets", f"{low:,} to {high:,} carried"))
    output.table(["account", output.Column("calls", right=True), output.Column("bytes out", right=True)], rows)
    if result.differences:
        columns: list[output.Column | str] = [output.Column("where", whole=True), "difference"]
        output.table(columns, [(one.where, one.what) for one in result.differences])
        output.say(f"run {result.run} does not agree: {len(result.differences) + result.more:,} differences")
    else:
        output.say(f"run {result.run}: all accounts agree")
    for words, number in (
        ("refused by the egress process", result.refused),
        ("calls that never left", result.unsent),
        ("calls without a receipt yet", result.running),
        ("tokens that it asked for itself", result.own),
        ("bytes to the resolver", result.resolver_bytes),
    ):
        if number:
            output.say(f"{words}: {number:,}")
    if result.witnessed:
        output.say(f"the record's {result.sent_out + result.heads_out:,} bytes with heads explain {result.allowed:,}")
    else:
        output.say("there was no witness: the kernel counted nothing")


def compared(result: "Reconciled") -> dict[str, Any]:
    """The same as JSON."""
    from msgspec.structs import asdict

    return {"agrees": result.agrees, **asdict(result)}
