"""The command line: one file per verb, each exporting `command`, imported only when it is asked for.

`main` is the click group; `freehold --help` reads the table below and imports no verb. It also is the one place where
an error becomes text and an exit status:

    0    done
    1    an expected error: `error: what happened` and `hint: what to do` on stderr, never a traceback
    2    the command line itself is wrong
    130  Ctrl-C
    141  whoever read our output has gone; nothing is printed

Data goes to stdout, everything else to stderr (output.py), so a pipe gets data only; with --json errors are JSON too.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from freehold import __version__
from freehold.cli import output
from freehold.errors import CallerError, FreeholdError

VERBS: dict[str, tuple[str, str]] = {
    "up": ("freehold.cli.up", "Start the gateway, its engines and its ledger"),
    "ask": ("freehold.cli.ask", "Ask the running gateway one question"),
    "chat": ("freehold.cli.chat", "Have a conversation with a model"),
    "launch": ("freehold.cli.launch", "Start a coding tool with this gateway behind it"),
    "pull": ("freehold.cli.pull", "Fetch weights from a hub, a URL, Ollama's library or a folder"),
    "weights": ("freehold.cli.weights", "List, show, verify and remove the weights in the store"),
    "check": ("freehold.cli.check", "Compare an owned model's artefact with its reference"),
    "deploy": ("freehold.cli.deploy", "Deploy a model, a version of it or a canary"),
    "render": ("freehold.cli.render", "Write a deployment for Ray Serve, KServe, Kubernetes or SkyPilot"),
    "models": ("freehold.cli.models", "List every model that can be asked for"),
    "keys": ("freehold.cli.keys", "Make, list and remove keys for clients"),
    "explain": ("freehold.cli.explain", "Show who would answer a prompt and why, calling nobody"),
    "route": ("freehold.cli.route", "Train, measure and replay how routes decide"),
    "feedback": ("freehold.cli.feedback", "Say how good an answer was, so that routing can learn"),
    "usage": ("freehold.cli.usage", "Show what was spent, on what and by whom"),
    "cache": ("freehold.cli.cache", "Show and clear kept answers, calibrate the semantic cache"),
    "scan": ("freehold.cli.scan", "Show what the detectors find in text: secrets, personal data, attacks"),
    "approvals": ("freehold.cli.approvals", "Show and decide requests that wait for a person"),
    "audit": ("freehold.cli.audit", "Verify, export and summarise the receipts of outward calls"),
    "doctor": ("freehold.cli.doctor", "Check this installation and print the fix for each fault"),
    "fake": ("freehold.cli.fake", "Run a provider that answers from a script"),
    "conformance": ("freehold.cli.conformance", "Show what every pair of dialects carries and loses"),
    "bench": ("freehold.cli.bench", "Measure what the gateway costs on this machine"),
    "import": ("freehold.cli.import_", "Turn another gateway's configuration into freehold.yaml"),
    "config": ("freehold.cli.config", "Check and show the configuration"),
    "completion": ("freehold.cli.completion", "Print the shell completion script"),
}
"""Verb: its module, and its line in `freehold --help`."""

SYNONYMS = {"serve": "up", "start": "up", "run": "up", "cost": "usage", "spend": "usage"}
"""Words that people try first."""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use.

    `verbs` maps each to its module, whose `command` it is, and to its line in the help.
    """

    verbs: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        module, line = self.verbs[cmd_name]
        loaded: click.Command = importlib.import_module(module).command
        loaded.name = cmd_name
        loaded.short_help = line
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.verbs.items()])


class Verbs(LazyGroup):
    """The commands of `VERBS`."""

    verbs = VERBS

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-") and not ctx.resilient_parsing:
            raise Misspelt(name, ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=line) for name, (_, line) in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command line (`args`, default sys.argv) and exits with the status of the module's docstring."""
        extra.update(zip(("args", "prog_name", "complete_var", "standalone_mode"), args, strict=False))
        given = extra.get("args")
        words = sys.argv[1:] if given is None else list(given)
        extra.update(args=words, prog_name="freehold", standalone_mode=False)
        status = self._guarded(extra, as_json="--json" in words)
        sys.exit(status)

    def _guarded(self, extra: dict[str, Any], *, as_json: bool) -> int:
        try:
            returned = super().main(**extra)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            output.say(error.format_message())
            return 2
        except click.ClickException as error:
            output.fail(_worded(error), as_json=as_json)
            return error.exit_code
        except click.Abort:
            return 130
        except BrokenPipeError:
            _discard_stdout()
            return 141
        except (FreeholdError, OSError) as error:
            output.fail(error, as_json=as_json)
            return 1
        return returned if isinstance(returned, int) else 0


class Misspelt(click.UsageError):
    """A verb that does not exist."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"there is no command {name!r}", ctx)
        import difflib

        close = SYNONYMS.get(name.lower()) or next(iter(difflib.get_close_matches(name.lower(), VERBS, 1)), None)
        self.hint = f"did you mean freehold {close}?" if close else "freehold --help lists them"


def _worded(error: click.ClickException) -> CallerError:
    """Returns click's error in our style: no capital, no full stop, with a hint where help is to be found."""
    message = error.format_message().strip()
    hint = getattr(error, "hint", None)
    if hint is None and isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help"
    return CallerError((message[:1].lower() + message[1:]).removesuffix("."), hint=hint, code="usage")


def _discard_stdout() -> None:
    """Points stdout at nothing, so that the interpreter's last flush has nobody to complain to."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="freehold", message="%(prog)s %(version)s")
def main() -> None:
    """One endpoint in front of every model you rent and every model you own.

    Start with `freehold up`; every command explains itself with --help, and prints JSON with --json.
    """
