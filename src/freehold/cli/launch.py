"""`freehold launch`: a coding tool that asks this gateway.

By default the tool is started with the right environment and nothing is written but its key under FREEHOLD_HOME; this
process becomes the tool, so signals, the terminal and the exit status are the tool's own. With --config the tool's own
file is changed instead, and --restore undoes that.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.cli.tools import Site, Tool

NAMES = ("claude", "codex", "opencode")
_HIDDEN = "(its own key)"


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("name", metavar="claude|codex|opencode", type=click.Choice(NAMES))
@click.argument("arguments", metavar="[-- ARGUMENTS...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--config", "persist", is_flag=True, help="Write the tool's own configuration file instead.")
@click.option("--restore", is_flag=True, help="Put back what --config found there.")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Another file for --config.")
@click.option("--model", "-m", metavar="NAME", help="A name that `freehold models` lists; the best fit by default.")
@click.option("--print", "show", is_flag=True, help="Show what would be set, and do nothing.")
@click.option("--url", help="Another gateway than the one started here; also FREEHOLD_URL.")
@click.option("--key", help="The key to use; better in FREEHOLD_API_KEY. Without one the tool gets its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with --print, --config or --restore.")
def command(
    name: str,
    arguments: tuple[str, ...],
    persist: bool,
    restore: bool,
    file: Path | None,
    model: str | None,
    show: bool,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Start a coding tool with this gateway behind it.

    Claude Code, Codex and OpenCode are known. The tool gets a key of its own, launch-NAME, which shows in `freehold
    usage`. What stands after -- goes to the tool: freehold launch claude -- -p "explain this repository".

    --config changes the tool's own configuration file, so that it asks this gateway however it is started; everything
    else in that file stays as it is, a copy stands beside it, and --restore puts it back.
    """
    from freehold.cli.tools import tools

    tool = tools()[name]
    context = click.get_current_context()
    if restore and (persist or arguments or model or show):
        raise click.UsageError("--restore stands alone", context)
    if persist and arguments:
        raise click.UsageError("--config starts nothing, so there is nothing to give arguments to", context)
    if file is not None and not persist:
        raise click.UsageError("--file belongs to --config", context)
    if as_json and not (show or persist or restore):
        raise click.UsageError("--json needs --print, --config or --restore", context)
    if restore:
        _restore(tool, as_json)
    elif show:
        _show(tool, _site(tool, url, key, model, make_key=False), persist, file, as_json)
    elif persist:
        _persist(tool, _site(tool, url, key, model), file, as_json)
    else:
        _start(tool, url, key, model, arguments)


def _site(tool: "Tool", url: str | None, key: str | None, model: str | None, *, make_key: bool = True) -> "Site":
    """Returns the gateway as the tool will see it. Raises NotFound when none runs, Unauthorized without a key."""
    import msgspec

    from freehold.cli import client
    from freehold.cli.tools import Site
    from freehold.cli.tools.key import key_file, key_for, models

    gateway = client.find(url, key)
    secret = key_for(tool.name, gateway, key) if make_key else (gateway.key or "")
    names = models(msgspec.structs.replace(gateway, key=secret))
    if model is not None and model not in names and "/" not in model:
        output.warn(f"the gateway does not list {model}; freehold models shows what it has")
    return Site(gateway.url, secret if make_key else _HIDDEN, key_file(tool.name), names, model)


def _start(tool: "Tool", url: str | None, key: str | None, model: str | None, arguments: tuple[str, ...]) -> None:
    """Becomes the tool."""
    from freehold.errors import NotFound

    program = shutil.which(tool.program)
    if program is None:
        raise NotFound(f"{tool.title} is not installed: no program {tool.program}", hint=tool.install, code="no_tool")
    site = _site(tool, url, key, model)
    if (overruled := tool.overruled()) is not None:
        output.warn(overruled)
        output.hint(f"freehold launch {tool.name} --config changes it there, --restore undoes it")
    setup = tool.child(site)
    environment = {name: value for name, value in os.environ.items() if name not in setup.without}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 the program is the tool that was asked for, found on PATH
        program, [program, *setup.arguments, *arguments], {**environment, **setup.environment}
    )


def _persist(tool: "Tool", site: "Site", file: Path | None, as_json: bool) -> None:
    from freehold.cli.tools import keep

    path = file or tool.file()
    changes = tool.changes(site)
    backup = keep.write(tool, path, changes)
    if as_json:
        output.emit({"tool": tool.name, "file": path, "backup": backup, "changes": changes})
        return
    output.say(f"{tool.title} asks {site.url} from now on: {path}")
    if backup is not None:
        output.say(f"what was there: {backup}")
    if shutil.which(tool.program) is None:
        output.warn(f"{tool.title} is not installed yet")
        output.hint(tool.install)
    output.hint(f"freehold launch {tool.name} --restore undoes it")


def _restore(tool: "Tool", as_json: bool) -> None:
    from freehold.cli.tools import keep

    file, exact = keep.restore(tool)
    if as_json:
        output.emit({"tool": tool.name, "file": file, "exists": file.exists(), "exact": exact})
        return
    what = "is what it was" if file.exists() else "is gone, as it was"
    output.say(f"{file} {what}" if exact else f"{file} was changed meanwhile: only what launch had set was taken out")


def _show(tool: "Tool", site: "Site", persist: bool, file: Path | None, as_json: bool) -> None:
    """Prints what would be set, without the key."""
    path = file or tool.file()
    if persist:
        changes = tool.changes(site)
        shown: dict[str, Any] = {"tool": tool.name, "file": path, "changes": changes}
        rows = [["file", str(path), ""], *(["set", ".".join(c.path), _text(c.value)] for c in changes)]
    else:
        setup = tool.child(site)
        shown = {
            "tool": tool.name,
            "environment": setup.environment,
            "without": setup.without,
            "arguments": setup.arguments,
        }
        rows = [["set", name, value] for name, value in setup.environment.items()]
        rows += [["unset", name, ""] for name in setup.without]
        rows += [["argument", word, ""] for word in setup.arguments]
    if as_json:
        output.emit(shown)
    else:
        output.table(["what", "name", "value"], rows)


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
