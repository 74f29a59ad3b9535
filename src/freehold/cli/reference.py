"""Writes docs/cli.md from the commands' own help: `python -m freehold.cli.reference > docs/cli.md`."""

import sys
from collections.abc import Iterator

import click

from freehold.cli import VERBS, main

WIDTH = 100

_HEAD = """\
# Command line

Generated from `freehold COMMAND --help` by `make docs`.

Data goes to stdout, everything else to stderr; `--json` prints one JSON value, and errors as JSON too. Exit status: 0
done, 1 an error with a `hint:`, 2 a wrong command line, 130 Ctrl-C. `NO_COLOR` is honoured. Variables read everywhere:

| variable | meaning |
|---|---|
| `FREEHOLD_HOME` | folder of the state, default `~/.freehold` |
| `FREEHOLD_URL` | gateway to talk to, default the one started from this home |
| `FREEHOLD_API_KEY` | key to send, default the local one |
"""


def reference() -> str:
    """Returns the page as Markdown."""
    settings = {**main.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    context = click.Context(main, info_name="freehold", **settings)
    parts = [_HEAD, _section("freehold", main, context)]
    for name in VERBS:
        command = main.get_command(context, name)
        assert command is not None
        parts += [_section(f"freehold {path}", one, here) for path, one, here in _walk(name, command, context)]
    return "\n".join(parts)


def _walk(
    name: str, command: click.Command, parent: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yields a command and all below it, with the context its help is written in."""
    here = click.Context(command, info_name=name.rsplit(" ")[-1], parent=parent, terminal_width=WIDTH)
    yield name, command, here
    if isinstance(command, click.Group):
        for below in command.list_commands(here):
            found = command.get_command(here, below)
            if found is not None:
                yield from _walk(f"{name} {below}", found, here)


def _section(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
