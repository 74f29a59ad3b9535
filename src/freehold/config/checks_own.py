"""The rules of `own:` and `engines:` that types cannot say."""

import re
from pathlib import PurePath
from urllib.parse import urlsplit

from freehold.config.problems import KeyPath, Problems
from freehold.config.schema import Config, Owned
from freehold.config.sizes import parse_size

BOX = "banking77"
"""The model in the box is addressed as own/banking77."""
ATTACHED = ("ollama", "lmstudio")
"""Engines that run already and load the model themselves."""
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]*")
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def own_name(owned: Owned) -> str:
    """Returns the NAME of `own/NAME`: the one given, else that of the file, folder or repository; empty without any."""
    if owned.name or (owned.path is None and owned.pull is None):
        return owned.name or owned.model or ""
    if owned.path is not None:
        path = PurePath(owned.path)
        return path.stem if path.suffix == ".gguf" else path.name
    return pulled_name(owned.pull or "")


def pulled_name(reference: str) -> str:
    """Returns the name a pulled model gets: `ORG/NAME@REVISION:QUANTISATION`, `ollama:NAME:TAG`, a URL or a folder."""
    if "://" in reference:
        return PurePath(urlsplit(reference).path).stem
    name = reference.removeprefix("ollama:").rstrip("/").rpartition("/")[2]
    return re.split("[@:]", name)[0].removesuffix(".gguf")


def check_own(config: Config, problems: Problems) -> None:
    """Notes every broken rule of owned models."""
    for name in ("memory", "gpu_memory"):
        _check_size(getattr(config.engines, name), ("engines", name), problems)
    seen = {BOX: "the model in the box; give another name, or set box: false"} if config.box else {}
    for index, owned in enumerate(config.own):
        path: KeyPath = ("own", index)
        named: KeyPath = (*path, "name" if owned.name else "pull" if owned.pull else "path")
        name = own_name(owned)
        if not name and owned.path is None:
            problems.add(path, "needs path, pull or name", "a model that was pulled needs its name only")
        elif not _OWN_NAME.fullmatch(name):
            problems.add(named, "the file's name does not make a model's name", "give it a name: ...")
        elif name in seen:
            problems.add(named, f"own/{name} is taken", f"it is {seen[name]}")
        else:
            seen[name] = f"entry {index + 1} of own"
        for number, adapter in enumerate(owned.adapters):
            if not _OWN_NAME.fullmatch(adapter.name):
                problems.add((*path, "adapters", number, "name"), "not usable as a model's name", "@ is for versions")
            elif adapter.name in seen:
                problems.add((*path, "adapters", number, "name"), f"own/{adapter.name} is taken", seen[adapter.name])
            else:
                seen[adapter.name] = f"an adapter of entry {index + 1} of own"
        _check_entry(owned, path, problems)


def _check_entry(owned: Owned, path: KeyPath, problems: Problems) -> None:
    if owned.path is not None and owned.pull is not None:
        problems.add((*path, "pull"), "give either path or pull, not both")
    if owned.path is not None and (owned.version or owned.canary):
        problems.add(
            (*path, "version" if owned.version else "canary"), "a file on disk has no versions", "freehold pull it"
        )
    versions: list[tuple[KeyPath, str | None]] = [((*path, "version"), owned.version)]
    if owned.canary is not None:
        versions.append(((*path, "canary", "version"), owned.canary.version))
    for where, version in versions:
        if version is not None and not _VERSION.fullmatch(version):
            problems.add(where, "not a version", "such as v3; freehold weights list --all shows them")
    if owned.shadow is not None and not owned.shadow.to.startswith("own/"):
        problems.add((*path, "shadow", "to"), "copies may only go to an owned model", "own/NAME")
    if (owned.engine == "command") != bool(owned.command):
        what = "engine command needs its command line" if owned.engine == "command" else "goes with engine: command"
        problems.add((*path, "command"), what, "command: [my-server, --port, '${PORT}']")
    if owned.url is not None and owned.engine not in ATTACHED:
        problems.add((*path, "url"), f"goes with engine {' or '.join(ATTACHED)}", "another server is a provider")
    if owned.idle is not None and owned.load == "pinned":
        problems.add((*path, "idle"), "a pinned model is never unloaded", "load: start")
    for name in owned.env:
        if not _VARIABLE.fullmatch(name):
            problems.add((*path, "env", name), "not a variable's name", key=True)
    _check_size(owned.memory, (*path, "memory"), problems)


def _check_size(value: str | None, path: KeyPath, problems: Problems) -> None:
    if value is None:
        return
    try:
        parse_size(value)
    except ValueError as error:
        problems.add(path, str(error))
