"""Rules between values that types cannot say: names that must exist, be unique, or not hide one another.

Run on a typed Config. `partial` means that unfit values were taken out before: then nothing is said of names that
are missing, since they may have been among those.
"""

import hashlib
import re
from collections.abc import Collection
from datetime import datetime
from urllib.parse import urlsplit

from freehold.config.checks_cache import check_cache
from freehold.config.checks_egress import check_egress
from freehold.config.checks_labels import check_labels
from freehold.config.checks_own import BOX, check_own, own_name
from freehold.config.checks_routing import check_route
from freehold.config.checks_safety import check_safety
from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config, Key, Provider
from freehold.config.schema_routing import Auto
from freehold.errors import redact

OWN = "own"
AUTO = "auto"
"""Always a model name, configured or not."""
MIN_KEY = 16

_HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_HASH = re.compile(r"(?:sha256:)?[0-9a-fA-F]{64}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_FRAMING = {"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "trailer", "keep-alive"}


def check(
    config: Config,
    problems: Problems,
    providers: Collection[str] | None,
    pulled: Collection[str] = (),
    *,
    partial: bool = False,
) -> None:
    """Notes every broken rule. `providers`: the built-in providers' names; None leaves out what needs them. `pulled`:
    owned models of the store, which need no entry."""
    if not _HOST.fullmatch(config.server.host):
        problems.add(("server", "host"), "expected an IP address or a host name")
    for name, provider in config.providers.items():
        _check_provider(name, provider, problems, providers)
    check_own(config, problems)
    check_egress(config, problems)
    _check_keys(config.keys, problems)
    _check_aliases(config, problems, providers, partial=partial)
    check_safety(config, problems, partial=partial)
    check_cache(config, problems, partial=partial)
    if not partial:
        check_labels(config, problems, providers)
    if not partial and providers is not None:
        _check_targets(config, problems, {*providers, *config.providers}, pulled)


def _check_provider(name: str, provider: Provider, problems: Problems, providers: Collection[str] | None) -> None:
    path: KeyPath = ("providers", name)
    if "/" in name or name in (OWN, AUTO):
        hint = "a slash parts provider and model" if "/" in name else "this name has a meaning already"
        problems.add(path, "not usable as a provider's name", hint, key=True)
    if providers is not None and name not in providers and provider.base_url is None:
        close = did_you_mean(name, list(providers))
        hint = f"{close} else give base_url" if close else "give the address of its API as base_url"
        problems.add(path, "a provider that is not built in needs base_url", hint, key=True)
    if provider.base_url is not None and (wrong := wrong_url(provider.base_url)):
        problems.add((*path, "base_url"), *wrong)
    if provider.api_key is not None and not _VISIBLE.fullmatch(provider.api_key):
        problems.add((*path, "api_key"), "a key cannot be empty or hold spaces, line breaks or special characters")
    for header, value in provider.headers.items():
        if not _TOKEN.fullmatch(header):
            problems.add((*path, "headers", header), "not a header's name", key=True)
        elif header.lower() in _FRAMING:
            problems.add((*path, "headers", header), "this header is set by the connection itself", key=True)
        elif not _HEADER_VALUE.fullmatch(value):
            problems.add((*path, "headers", header), "a header's value is one line of ASCII text")


def wrong_url(url: str) -> tuple[str, str | None] | None:
    """Returns what is wrong with a base URL and how to mend it, or None. The URL itself is not repeated."""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return "not a URL", "write it as https://host/v1"
    if not _VISIBLE.fullmatch(url) or parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        return "expected an http or https URL", "write it as https://host/v1"
    if "@" in parts.netloc:
        return "a URL must not hold credentials", "give the key as api_key: ${VARIABLE}"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "a base URL has no ? or # part", "leave it off; extra headers go under headers"
    return None


def _check_keys(keys: list[Key], problems: Problems) -> None:
    names: dict[str, int] = {}
    secrets: dict[str, int] = {}
    for index, key in enumerate(keys):
        path: KeyPath = ("keys", index)
        if names.setdefault(key.name, index) != index:
            problems.add((*path, "name"), f"the name {redact(key.name)} is used by entry {names[key.name] + 1} of keys")
        if (key.key is None) == (key.hash is None):
            what = "give either key or hash, not both" if key.key else "needs a key or a hash"
            problems.add(path, what, "freehold keys add prints both")
        if key.key is not None:
            _check_key(key.key, (*path, "key"), problems)
        if key.hash is not None and not _HASH.fullmatch(key.hash):
            problems.add((*path, "hash"), "expected sha256: and 64 hexadecimal digits", "freehold keys add prints it")
        same = _identity(key)
        if same and secrets.setdefault(same, index) != index:
            problems.add(path, f"the same key as entry {secrets[same] + 1} of keys", "give each its own")
        if key.expires is not None and parse_time(key.expires) is None:
            problems.add((*path, "expires"), "expected an ISO 8601 date or time", "like 2027-01-31T18:00Z")


def _identity(key: Key) -> str:
    """Returns the hash by which a key is known, given or worked out; empty where there is neither."""
    if key.key:
        return hashlib.sha256(key.key.encode()).hexdigest()
    return (key.hash or "").removeprefix("sha256:").lower()


def _check_key(value: str, path: KeyPath, problems: Problems) -> None:
    if not _VISIBLE.fullmatch(value):
        problems.add(path, "a key cannot be empty or hold spaces, line breaks or special characters")
    elif len(value) < MIN_KEY:
        problems.add(path, f"a key has at least {MIN_KEY} characters", "freehold keys add makes one")


def parse_time(text: str) -> datetime | None:
    """Returns an ISO 8601 date or time, None where it is not one. Without an offset it is naive: read it as UTC."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def targets(value: list[str] | Auto) -> list[tuple[KeyPath, str]]:
    """Returns the names that an alias or route stands for, each with where it is written below the alias."""
    if not isinstance(value, Auto):
        return [((index,), name) for index, name in enumerate(value)]
    found: list[tuple[KeyPath, str]] = [(("among", index), name) for index, name in enumerate(value.among)]
    found += [(("split", name), name) for name in value.split]
    return found + [(("schedule", index, "use"), slot.use) for index, slot in enumerate(value.schedule)]


def _check_aliases(config: Config, problems: Problems, providers: Collection[str] | None, *, partial: bool) -> None:
    known = {OWN, *config.providers, *(providers or ())}
    for alias, value in config.models.items():
        head, slash, _ = alias.partition("/")
        if slash and head in known:
            problems.add(("models", alias), f"would hide the deployment of {head}", "choose another name", key=True)
        if isinstance(value, Auto):
            check_route(("models", alias), value, config, problems, partial=partial)
        elif not value:
            problems.add(("models", alias), "an alias needs at least one model")
    for cycle in _cycles(config):
        where = next(path for path, name in targets(config.models[cycle[0]]) if name == cycle[1])
        problems.add(
            ("models", cycle[0], *where),
            "goes round in a circle: " + " -> ".join(redact(name, 60) for name in cycle),
        )


def _cycles(config: Config) -> list[list[str]]:
    """Returns each circle of aliases once, as the names walked, the first repeated at the end."""
    names = {alias: [name for _, name in targets(value)] for alias, value in config.models.items()}
    done: set[str] = set()
    found: list[list[str]] = []
    for start in names:
        trail: list[str] = []
        todo = [(start, iter(names[start]))] if start not in done else []
        trail.extend(name for name, _ in todo)
        while todo:
            name, rest = todo[-1]
            following = next((t for t in rest if t in names and t not in done), None)
            if following is None:
                done.add(name)
                todo.pop()
                trail.pop()
            elif following in trail:
                found.append([*trail[trail.index(following) :], following])
            else:
                trail.append(following)
                todo.append((following, iter(names[following])))
    return found


def _check_targets(config: Config, problems: Problems, providers: set[str], pulled: Collection[str]) -> None:
    own = {own_name(owned) for owned in config.own} | ({BOX} if config.box else set()) | set(pulled)
    own |= {adapter.name for owned in config.own for adapter in owned.adapters}
    for alias, value in config.models.items():
        for where, target in targets(value):
            if wrong := _wrong_target(target, config, providers, own):
                problems.add(("models", alias, *where), *wrong)
    for number, key in enumerate(config.keys):
        for index, target in enumerate(key.models or ()):
            if target != AUTO and (wrong := _wrong_target(target, config, providers, own)):
                problems.add(("keys", number, "models", index), *wrong)


def _wrong_target(name: str, config: Config, providers: set[str], own: set[str]) -> tuple[str, str | None] | None:
    """Returns why nothing can answer to `name`, and the hint; None when something can."""
    if name in config.models:
        return None
    shown = redact(name, 80)
    provider, slash, model = name.partition("/")
    if not slash:
        everything = [*config.models, *(f"{OWN}/{n}" for n in own)]
        return f"no alias {shown} in models", did_you_mean(name, everything) or "a deployment is provider/model"
    if provider == OWN:
        hint = did_you_mean(model, own) or "its owned models are " + (", ".join(sorted(own)) or "none")
        known = model in own or model.partition("@")[0] in own
        return None if known else (f"no owned model {redact(model, 80)}", hint)
    if provider not in providers:
        return f"no provider {redact(provider, 60)}", did_you_mean(provider, providers) or "add it under providers"
    return None if model else (f"{shown} names no model", "write provider/model")
