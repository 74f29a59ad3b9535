"""`freehold deploy`: what runs, said on the command line.

What is asked for is kept in FREEHOLD_HOME/deployments.yaml, in the words of freehold.yaml, and a running gateway is
told at once. freehold.yaml wins, so a model that has an entry there is changed there.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.config.load import Loaded
    from freehold.config.schema import Owned

ENGINES = ("llamacpp", "llama-server", "transformers", "vllm", "sglang", "trtllm", "mlx")
"""Those that need no more than weights; the others are written into freehold.yaml."""


@click.command()
@click.argument("model", metavar="[NAME[@vN]]", required=False)
@click.option(
    "--canary",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PERCENT",
    help="Give NAME@vN only this share of the requests, and let it take over when it has proved itself.",
)
@click.option("--requests", type=click.IntRange(1), metavar="N", help="Of the canary, after which it is judged.")
@click.option("--no-promote", is_flag=True, help="Only judge the canary; --promote makes it current.")
@click.option("--promote", is_flag=True, help="Make the canary, or NAME@vN, the current version now.")
@click.option("--rollback", is_flag=True, help="Take the canary back; without one, go back to the version before.")
@click.option("--remove", is_flag=True, help="Take the deployment away; the weights stay.")
@click.option("--engine", type=click.Choice(ENGINES), help="What runs it; llama.cpp unless told otherwise.")
@click.option("--quantisation", metavar="Q", help="Which artefact of the weights, such as Q4_K_M.")
@click.option("--context", type=click.IntRange(1), metavar="TOKENS", help="Context of each request.")
@click.option("--parallel", type=click.IntRange(1, 256), metavar="N", help="Requests answered at a time.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads.")
@click.option("--gpu-layers", type=click.IntRange(0), metavar="N", help="Layers to put on the GPU.")
@click.option("--load", type=click.Choice(["start", "demand", "pinned"]), help="When it is loaded.")
@click.option(
    "--idle",
    type=click.FloatRange(0, 86400, min_open=True),
    metavar="SECONDS",
    help="Unload it after so long without a request.",
)
@click.option("--memory", metavar="SIZE", help="Its need, such as 12GiB, where the estimate is wrong.")
@click.option("--adapter", "adapters", multiple=True, metavar="NAME=PATH", help="LoRA weights, served as own/NAME.")
@click.option("--config", "file", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to respect.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str | None,
    canary: float | None,
    requests: int | None,
    no_promote: bool,
    promote: bool,
    rollback: bool,
    remove: bool,
    adapters: tuple[str, ...],
    file: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Deploy a model that was pulled, another version of it, or a canary; without NAME, list what is deployed.

    A deployment outlives the gateway. Options change what they name and leave the rest as it was.
    """
    if model is None:
        _list(file, as_json)
        return
    given = {name: value for name, value in settings.items() if value is not None}
    actions = [name for name, on in (("--promote", promote), ("--rollback", rollback), ("--remove", remove)) if on]
    if canary is not None:
        actions.append("--canary")
    if len(actions) > 1:
        raise click.UsageError(f"{actions[0]} and {actions[1]} exclude one another")
    if actions and actions != ["--canary"] and (given or adapters):
        raise click.UsageError(f"{actions[0]} goes without settings")
    if canary is None and (requests is not None or no_promote):
        raise click.UsageError("--requests and --no-promote go with --canary")
    name, version = _split(model)
    if promote:
        said = _promote(name, version, file)
    elif rollback:
        said = _rollback(name, version, file)
    elif remove:
        said = _remove(name, file)
    else:
        rules = {"percent": canary, "requests": requests, "promote": False if no_promote else None}
        said = _deploy(name, version, file, given, adapters, rules if canary is not None else None)
    from freehold.cli.client import reload_running

    told = reload_running()
    if as_json:
        output.emit({"name": name, "done": said, "gateway": told})
    else:
        output.say(said)
        if not told:
            output.hint("no gateway runs here; freehold up starts with it")


def _deploy(
    name: str,
    version: str | None,
    file: Path | None,
    given: dict[str, Any],
    adapters: tuple[str, ...],
    rules: dict[str, Any] | None,
) -> str:
    from freehold.config import deployed
    from freehold.config.schema import Owned
    from freehold.errors import BadRequest
    from freehold.home import run_dir

    loaded = _configured(name, file)
    current = _known(name, version)
    if rules is not None and version is None:
        raise BadRequest("a canary is a version", hint=f"freehold deploy {name}@vN --canary PERCENT", param="canary")
    with deployed.change(deployed.path_in(os.environ)) as entries:
        before = deployed.find(entries, name) or Owned(name=name)
        changes = dict(given)
        if adapters:
            changes["adapters"] = _adapters(adapters)
        if rules is not None:
            present = before.version or current
            if version == present:
                raise BadRequest(
                    f"{version} is what own/{name} serves already",
                    hint="freehold weights list --all shows its versions",
                )
            changes["canary"] = {"version": version} | {key: value for key, value in rules.items() if value is not None}
        elif version is not None:
            changes |= {"version": version, "canary": None}
        entry = _changed(before, changes)
        _replace(entries, name, entry)
        _fits(loaded, entries)
    if rules is None:
        return f"own/{name} is deployed" + (
            f" in version {version}" if version else f", version {entry.version or current}"
        )
    from freehold.serve.rollout import try_again

    try_again(run_dir(), name)
    return f"own/{name}: {rules['percent']:g} % of its requests go to {version}, the others to {present}"


def _promote(name: str, version: str | None, file: Path | None) -> str:
    from freehold.config import deployed
    from freehold.errors import BadRequest
    from freehold.own.weights.store import open_store

    configured = _entry(name, file)
    with deployed.change(deployed.path_in(os.environ)) as entries:
        entry = configured or deployed.find(entries, name)
        if version is None and entry is not None and entry.canary is not None:
            version = entry.canary.version
        if version is None:
            raise BadRequest(f"own/{name} has no canary", hint=f"freehold deploy {name}@vN --promote")
        _known(name, version)
        if configured is not None and configured.version not in (None, version):
            raise BadRequest(
                f"freehold.yaml says version: {configured.version} of own/{name}",
                hint=f"write version: {version} there",
            )
        open_store().promote(name, version)
        if configured is None and entry is not None:
            pinned = version if entry.version is not None else None
            _replace(entries, name, msgspec.structs.replace(entry, version=pinned, canary=None))
    return f"own/{name} is {version} now"


def _rollback(name: str, version: str | None, file: Path | None) -> str:
    from freehold.config import deployed
    from freehold.errors import BadRequest
    from freehold.own.weights.store import open_store

    if version is not None:
        raise BadRequest(f"--rollback needs no version; to serve {version}: freehold deploy {name}@{version}")
    configured = _entry(name, file)
    if configured is not None and (configured.canary is not None or configured.version is not None):
        what = "canary" if configured.canary is not None else "version"
        raise BadRequest(f"the {what} of own/{name} is said in freehold.yaml", hint=f"change {what}: there")
    with deployed.change(deployed.path_in(os.environ)) as entries:
        entry = deployed.find(entries, name)
        if entry is not None and entry.canary is not None:
            _replace(entries, name, msgspec.structs.replace(entry, canary=None))
            return f"own/{name}: {entry.canary.version} is taken back"
        store = open_store()
        present = (entry.version if entry is not None else None) or store.current(name)
        versions = [known.version for known in store.versions(name)]
        older = versions[: versions.index(present)] if present in versions else []
        if not older:
            raise BadRequest(
                f"own/{name} has no version before {present}", hint="freehold weights list --all shows its versions"
            )
        if entry is not None and entry.version is not None:
            _replace(entries, name, msgspec.structs.replace(entry, version=older[-1]))
        else:
            store.promote(name, older[-1])
    return f"own/{name} is {older[-1]} again, it was {present}"


def _remove(name: str, file: Path | None) -> str:
    from freehold.config import deployed
    from freehold.errors import NotFound

    _configured(name, file)
    with deployed.change(deployed.path_in(os.environ)) as entries:
        if deployed.find(entries, name) is None:
            raise NotFound(f"own/{name} was not deployed here", hint="freehold deploy lists what was")
        _replace(entries, name, None)
    return f"own/{name} is deployed no more; the weights stay, freehold weights rm {name} removes them"


def _list(file: Path | None, as_json: bool) -> None:
    from freehold.config import deployed
    from freehold.config.checks_own import own_name
    from freehold.home import run_dir
    from freehold.serve.rollout import read_trials

    loaded = _load(file)
    ours = deployed.read(deployed.path_in(os.environ))
    hidden = deployed.names(loaded.config.own) if loaded else set()
    trials = read_trials(run_dir())
    rows = [(entry, "freehold.yaml") for entry in (loaded.config.own if loaded else [])]
    rows += [(entry, "deploy") for entry in ours if not hidden & deployed.names([entry])]
    if as_json:
        output.emit(
            [
                {
                    **msgspec.to_builtins(entry),
                    "name": own_name(entry),
                    "kept_in": kept,
                    "trial": trials.get(own_name(entry)),
                }
                for entry, kept in rows
            ]
        )
        return
    shown = []
    for entry, kept in rows:
        trial = trials.get(own_name(entry))
        canary = f"{entry.canary.version} {entry.canary.percent:g} %" if entry.canary else ""
        state = f"{trial.state}: {trial.why}" if trial and trial.why else trial.state if trial else ""
        name = f"own/{own_name(entry)}"
        shown.append([name, entry.version or "current", entry.engine or "llamacpp", canary, state, kept])
    output.table(["name", "version", "engine", "canary", "state", "kept in"], shown)
    if not rows:
        output.hint("freehold pull ORG/NAME brings a model, freehold deploy NAME says how it runs")


# helpers


def _split(model: str) -> tuple[str, str | None]:
    name, at, version = model.removeprefix("own/").partition("@")
    if not name or (at and not version):
        raise click.BadParameter("write NAME or NAME@v3", param_hint="NAME")
    return name, version or None


def _known(name: str, version: str | None) -> str:
    """Returns the current version. Raises EngineError when the store does not have the name, or not that version."""
    from freehold.own.weights.store import open_store

    store = open_store()
    store.find(f"{name}@{version}" if version else name)
    return store.current(name)


def _load(file: Path | None) -> "Loaded | None":
    """Returns freehold.yaml alone, without what is deployed, although it may name that; None where there is none."""
    from freehold.call.providers import rows
    from freehold.cli.client import configuration
    from freehold.config import deployed
    from freehold.config.load import load

    path = configuration(file)
    if path is None:
        return None
    added = deployed.names(deployed.read(deployed.path_in(os.environ)))
    return load(path, os.environ, providers=rows().keys(), pulled=added)


def _entry(name: str, file: Path | None) -> "Owned | None":
    from freehold.config import deployed

    loaded = _load(file)
    return deployed.find(loaded.config.own, name) if loaded else None


def _configured(name: str, file: Path | None) -> "Loaded | None":
    """Returns freehold.yaml. Raises BadRequest when it says itself what own/NAME is."""
    from freehold.config import deployed
    from freehold.errors import BadRequest

    loaded = _load(file)
    if loaded is not None and name in deployed.names(loaded.config.own):
        raise BadRequest(
            f"own/{name} is part of {loaded.path}, which wins", hint="change it there", code="configured_elsewhere"
        )
    return loaded


def _fits(loaded: "Loaded | None", entries: "list[Owned]") -> None:
    """Checks the whole as the gateway will see it. Raises ConfigErrors."""
    from freehold.config import checks, deployed
    from freehold.config.load import Loaded, version_of
    from freehold.config.problems import Problems, Sources
    from freehold.config.schema import Config

    base = loaded or Loaded(Config(), None, version_of(Config()), Sources())
    problems = Problems(Sources(str(deployed.path_in(os.environ))))
    checks.check(deployed.merge(base, entries).config, problems, None)
    problems.done()


def _changed(before: "Owned", changes: dict[str, Any]) -> "Owned":
    """Raises BadRequest for a value that does not fit."""
    from freehold.config.schema import Owned
    from freehold.errors import BadRequest

    fields = {key: value for key, value in {**msgspec.to_builtins(before), **changes}.items() if value is not None}
    try:
        return msgspec.convert(fields, Owned)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error).partition(" - at")[0], hint="freehold deploy --help") from error


def _adapters(words: tuple[str, ...]) -> list[dict[str, str]]:
    found = []
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{word}: write NAME=PATH", param_hint="--adapter")
        where = Path(path).expanduser().absolute()
        if not where.exists():
            raise click.BadParameter(f"{where} does not exist", param_hint="--adapter")
        found.append({"name": name.removeprefix("own/"), "path": str(where)})
    return found


def _replace(entries: "list[Owned]", name: str, entry: "Owned | None") -> None:
    from freehold.config.checks_own import own_name

    for index, known in enumerate(entries):
        if own_name(known) == name:
            entries[index : index + 1] = [entry] if entry is not None else []
            return
    if entry is not None:
        entries.append(entry)
