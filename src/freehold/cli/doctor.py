"""`freehold doctor`: every check in a table, what it found, and the exact fix for each fault.

Nothing is changed, and no provider is called: the loopback address is the only one asked. A check that fails in an
unexpected way is a fault of that check, told as one, and the others go on.
"""

import sys
from pathlib import Path

import click
import msgspec

from freehold.cli import check_engines, check_gateway, check_machine, output
from freehold.cli.site import Check, Finding, Site

CHECKS: tuple[Check, ...] = (
    check_machine.python,
    check_machine.packages,
    check_machine.state_folder,
    check_machine.disk,
    check_gateway.configuration,
    check_gateway.keys,
    check_gateway.providers,
    check_gateway.provider_terms,
    check_gateway.detectors,
    check_gateway.port,
    check_gateway.gateway,
    check_engines.engines,
    check_engines.gpu,
    check_engines.weights,
    check_engines.hub,
    check_engines.memory,
    check_gateway.store,
    check_gateway.journals,
    check_gateway.prices,
    check_machine.clock,
    check_machine.certificates,
    check_gateway.local_servers,
    check_machine.descriptors,
)


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to check.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config: Path | None, as_json: bool) -> None:
    """Check this installation and print the fix for each fault.

    Exits 1 when something fails. Providers are not called: whether their keys are right shows at the first request.
    """
    findings = examine(Site(config))
    worst = "fail" if any(f.verdict == "fail" for f in findings) else "warn" if any(f.fix for f in findings) else "ok"
    if as_json:
        output.emit({"verdict": worst, "checks": [msgspec.to_builtins(finding) for finding in findings]})
    else:
        output.table(["check", "verdict", "found"], [(f.check, f.verdict, f.found) for f in findings])
        for finding in findings:
            if finding.fix:
                print(f"fix for {finding.check}: {finding.fix}")
    if worst == "fail":
        sys.exit(1)


def examine(site: Site, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """Runs all checks, in order."""
    findings: list[Finding] = []
    with output.progress("checking", len(checks)) as advance:
        for check in checks:
            findings += _guarded(check, site)
            advance(1)
    return findings


def _guarded(check: Check, site: Site) -> list[Finding]:
    name = check.__name__.replace("_", " ")
    try:
        return check(site)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return [
            Finding(name, "fail", f"{where}{error.strerror or error}", "make it readable and writable for this user")
        ]
    except Exception as error:
        what = f"this check itself failed: {type(error).__name__}: {error}"
        return [Finding(name, "fail", what, "report it, with the output of freehold doctor --json")]
