"""Checks of the owned side: engines, GPUs, the store of weights, the hub's address, memory. Nothing is called.

An engine is looked for, never started; of weights a stat a file is taken, and only one that was touched is read.
"""

import importlib.util
import os
from collections.abc import Iterable

from freehold.cli.site import Finding, Site
from freehold.errors import ConfigError, EngineError
from freehold.home import log_dir, run_dir
from freehold.own.engine import EngineSpec, Host, LaunchPlan

NEED_GPU = ("vllm", "sglang", "trtllm")


def engines(site: Site) -> list[Finding]:
    """Every engine that the configuration or the store uses, the model files, and the engines of a running gateway."""
    from freehold.own.engine import Missing
    from freehold.own.engines import adapter

    specs, broken = site.owned
    # what was only pulled, nobody has asked for yet
    findings = [
        Finding("engines", "fail" if one.key else "warn", str(one), one.hint or "freehold config check")
        for one in broken
    ]
    if not specs:
        return findings or [Finding("engines", "ok", "no owned models are configured, none were pulled")]
    for name in sorted({spec.engine for spec in specs}):
        users = [f"own/{spec.name}" for spec in specs if spec.engine == name]
        found = adapter(name).probe()
        if not isinstance(found, Missing):
            what = f"{name} {found.version}" if name != "command" else "command: what the configuration says"
            findings.append(Finding("engines", "ok", f"{what}, for {_listed(users)}"))
        elif adapter(name).formats:
            findings.append(Finding("engines", "fail", f"{found.reason}; {_listed(users)} cannot run", found.hint))
        else:  # a daemon, which may run where nothing of it is to be seen from here
            where = next((spec.url for spec in specs if spec.engine == name and spec.url), "its usual address")
            said = f"{found.reason} here; {_listed(users)} needs it at {where}"
            findings.append(Finding("engines", "warn", said, f"{found.hint}, if it does not run there already"))
    findings += [
        Finding("engines", "ok", f"own/{spec.name}: {spec.path.name}, {spec.path.stat().st_size / (1 << 20):,.1f} MiB")
        for spec in specs
        if spec.path is not None and spec.path.is_file() and not spec.weights
    ]
    return [*findings, *_failed(site)]


def gpu(site: Site) -> list[Finding]:
    """What nvidia-smi says, beside what the owned models ask for."""
    specs, _ = site.owned
    found = site.gpus
    wanting = [f"own/{one.name}" for one in specs if one.engine in NEED_GPU or one.gpu_layers > 0]
    if found:
        from freehold.own.memory import shown

        cards = [f"{one.name} ({shown(one.free)} of {shown(one.total)} free)" for one in found]
        return [Finding("gpu", "ok", ", ".join(cards))]
    if not wanting:
        return [Finding("gpu", "ok", "none found, and no owned model asks for one")]
    layers = [one for one in specs if one.gpu_layers > 0]
    fix = "nvidia-smi must list a GPU: install the driver" + (
        f"; or gpu_layers: 0 for own/{layers[0].name}" if layers else "; or leave engine out, to run it with llama.cpp"
    )
    return [Finding("gpu", "warn", f"no GPU was found; {_listed(wanting)} asks for one", fix)]


def weights(site: Site) -> list[Finding]:
    """Records that cannot be read, and files that are missing or were changed."""
    from freehold.own.memory import shown
    from freehold.own.weights.bundle import contents
    from freehold.own.weights.store import open_store

    store = open_store()
    findings, versions = [], []
    for name in store.names():
        try:
            versions += store.versions(name)
        except EngineError as error:
            findings.append(_fault("weights", error))
    for version in versions:
        try:
            for artefact in version.artefacts:
                store.check_unchanged(version, artefact)
        except EngineError as error:
            findings.append(_fault("weights", error))
    size = sum({file.sha256: file.size for one in versions for file in contents(one)}.values())
    partial = _partial(store.places.partial)
    left = f"; {shown(partial)} of interrupted pulls (freehold weights gc removes them)" if partial else ""
    found = (
        f"{len(versions)} versions of {len({one.name for one in versions})} models, {shown(size)}"
        if versions
        else "none were pulled"
    )
    return [*findings, Finding("weights", "ok", found + left)]


def hub(site: Site) -> list[Finding]:
    """Where `freehold pull` would ask. Whether it answers, only a call could say."""
    from freehold.own.weights import hub as hubs
    from freehold.own.weights.sources import registry

    try:
        place = hubs.endpoint()
        registry()
    except ConfigError as error:
        return [Finding("hub", "fail", error.message, error.hint)]
    references = [owned.pull for owned in site.config.own if owned.pull]
    missing = [name for name in ("huggingface_hub", "httpx2") if importlib.util.find_spec(name) is None]
    if missing:
        found = f"freehold pull needs {' and '.join(missing)}"
        if references:
            return [Finding("hub", "fail", f"{found}, not installed", "pip install 'freehold[own]'")]
        return [Finding("hub", "ok", f"{found}: pip install 'freehold[own]', if you want to pull")]
    if references and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        found = "HF_HUB_OFFLINE is set, and own: names weights to be pulled"
        return [Finding("hub", "warn", found, "unset HF_HUB_OFFLINE, or freehold weights import FILE")]
    return [Finding("hub", "ok", f"{place} (not called)")]


def memory(site: Site) -> list[Finding]:
    """What the owned models will need, beside what `engines.memory` allows and the machine has free."""
    from freehold.config.sizes import parse_size
    from freehold.own.memory import available, shown

    free, findings = available(), []
    declared = parse_size(site.config.engines.memory) if site.config.engines.memory is not None else None
    if declared is not None and free is not None and declared > free and site.gateway is None:
        found = f"engines.memory is {site.config.engines.memory}, {shown(free)} are free"
        findings.append(Finding("memory", "warn", found, f"engines: {{memory: {free >> 20}MiB}}, or free some"))
    gpu_memory = site.config.engines.gpu_memory
    smallest = min((one.total for one in site.gpus), default=None)
    if gpu_memory is not None and smallest is not None and parse_size(gpu_memory) > smallest:
        found = f"engines.gpu_memory is {gpu_memory}, a GPU has {shown(smallest)}"
        findings.append(Finding("memory", "warn", found, f"engines: {{gpu_memory: {smallest >> 20}MiB}}"))
    limit = min((one for one in (declared, free) if one is not None), default=None)
    specs, _ = site.owned
    needs, refused = _needs(specs, Host(site.gpus))
    findings += refused
    if limit is not None and site.gateway is None:  # what runs has its memory already
        findings += _too_large(specs, needs, limit)
    total = sum(needs.values())
    has = f"{shown(limit)} for owned models" if limit is not None else "the system does not say what is free"
    return [*findings, Finding("memory", "ok", f"{has}, all of which together need about {shown(total)}")]


def _too_large(specs: Iterable[EngineSpec], needs: dict[str, int], limit: int) -> list[Finding]:
    from freehold.own.engines import describe
    from freehold.own.memory import refuse_too_large, shown

    findings = []
    for spec in specs:
        need = needs.get(spec.name, 0)
        if need <= limit:
            continue
        fix = f"memory: {limit >> 20}MiB for own/{spec.name}, if it is known to need less; or a smaller quantisation"
        try:
            if spec.memory is None and spec.path is not None:
                refuse_too_large(describe(spec), need=need, free=limit, context=spec.context, parallel=spec.parallel)
        except EngineError as error:
            fix = error.hint or fix
        found = f"own/{spec.name} needs about {shown(need)}, {shown(limit)} are there"
        findings.append(Finding("memory", "warn" if spec.load == "demand" else "fail", found, fix))
    for load, what in (("pinned", "never make room"), ("start", "are loaded at the start")):
        names = [spec.name for spec in specs if spec.load == load and spec.name in needs]
        total = sum(needs[name] for name in names)
        if len(names) > 1 and total > limit and all(needs[name] <= limit for name in names):
            found = f"{_listed([f'own/{name}' for name in names])} {what} and together need about {shown(total)}"
            fix = f"load: demand for some of them; {shown(limit)} are there"
            findings.append(Finding("memory", "fail" if load == "pinned" else "warn", found, fix))
    return findings


def _needs(specs: Iterable[EngineSpec], host: Host) -> tuple[dict[str, int], list[Finding]]:
    """Bytes of RAM by name, and what its engine cannot do with a model. Engines that are missing were told of."""
    from freehold.own.engine import Missing
    from freehold.own.engines import adapter, describe

    needs, findings = {}, []
    for spec in specs:
        engine = adapter(spec.engine)
        if isinstance(engine.probe(), Missing):
            continue
        try:
            plan: LaunchPlan = engine.plan(spec, describe(spec), "", host)
        except EngineError as error:
            findings.append(Finding("memory", "fail", f"own/{spec.name}: {error.message}", error.hint or spec.engine))
            continue
        needs[spec.name] = spec.memory if spec.memory is not None else plan.memory
    return needs, findings


def _failed(site: Site) -> list[Finding]:
    """Engines that a running gateway gave up for now."""
    from freehold.serve.published import Engines, Published

    if site.gateway is None:
        return []
    states = Published(run_dir() / "engines.json", Engines).value
    return [
        Finding(
            "engines",
            "fail",
            f"own/{name} failed: {state.error or 'no reason given'}",
            f"read {log_dir()}/engine-*.log",
        )
        for name, state in states.items()
        if state.state == "failed"
    ]


def _partial(folder: os.PathLike[str]) -> int:
    try:
        return sum(one.stat().st_size for one in os.scandir(folder) if one.is_file())
    except FileNotFoundError:
        return 0


def _fault(check: str, error: EngineError) -> Finding:
    return Finding(check, "fail", error.message, error.hint or "freehold weights verify")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
