"""The freehold.yaml in the making, and the names in it: providers that are told apart, variables for secrets."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from freehold.config.checks import AUTO, OWN
from freehold.config.litellm.source import Value
from freehold.config.litellm.vendors import Vendor
from freehold.config.schema import DialectName
from freehold.errors import redact

AZURE_V1_PATH = "/openai/v1"
"""Where Azure speaks OpenAI's dialect as it is, with any way to carry a key."""

BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com{more}"
"""https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""
_NO_STEM = {"openai", "custom_openai", "openai_like"}
"""Prefixes that say nothing about who is behind an address."""
_REFERENCE = "os.environ/"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
NO_KEY = {
    *("", "-", "any", "anything", "dummy", "dummy-key", "empty", "fake", "fake-key", "fake_key", "ignored", "key"),
    *("lm-studio", "n/a", "na", "no-key", "no-key-required", "none", "not-needed", "not-required", "notneeded", "null"),
    *("ollama", "placeholder", "sk-", "sk-dummy", "sk-fake", "sk-no-key-required", "token", "unused", "x", "xxx"),
}
"""Keys that are none: what people write where a server asks for no key."""


class Variable(Struct):
    """An environment variable that the new freehold.yaml reads. `secret_was_literal`: the source holds its value."""

    name: str
    used_for: str
    secret_was_literal: bool = False
    default: str | None = None
    """What the source's environment_variables set it to, where that is an address and no secret."""


class Builtin(Struct, frozen=True):
    """What is built in of a provider (`call.providers.rows()`), as far as an import needs it."""

    base_url: str
    dialect: DialectName
    keys: tuple[str, ...] = ()
    """Variables its key is read from."""


class Place(Struct, frozen=True):
    """What makes a provider another one than the next: where it is, with which key, and what is sent along."""

    row: str | None
    dialect: DialectName
    base_url: str | None
    key: str | None
    headers: tuple[tuple[str, str], ...]
    local: bool
    cloud: tuple[tuple[str, str], ...] = ()
    """region, project, profile, credentials, api_version: what a cloud's row asks for."""


class Draft(Struct):
    """`providers` and `models` as they will stand in the file; `groups` holds the aliases' own deployments."""

    rows: Mapping[str, Builtin]
    """Built-in providers."""
    bare: dict[str, str] = field(default_factory=dict)
    """Providers that are a second one of a built-in kind, which inherit nothing: name and title."""
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """Everything else, by section."""
    variables: dict[str, Variable] = field(default_factory=dict)
    places: dict[Place, str] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    """LiteLLM's model_name: what it is asked for here, an alias or provider/model."""
    own_members: dict[str, list[str]] = field(default_factory=dict)
    """An alias's deployments, without its fallbacks."""
    reserved: set[str] = field(default_factory=set)
    """Variables that the source names: a literal secret gets another one."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Literal secrets met so far and their references, so that one secret has one variable. Never printed."""

    def provider(self, place: Place, vendor: Vendor, prefix: str) -> str | None:
        """Returns the provider's name for a place, a new one if it is the first there.

        None where a second provider of that kind cannot be described.
        """
        if place in self.places:
            return self.places[place]
        plain = place.row is not None and (place.base_url is None or vendor.local or vendor.own_address)
        if plain and place.row is not None and place.row not in self.providers:
            name, entry = place.row, self._built_in(place)
        elif vendor.cloud and not (place.dialect == "converse" and (place.base_url or dict(place.cloud).get("region"))):
            return None  # the other clouds' means to sign belong to their built-in names
        else:
            name, entry = self._new_name(place, vendor, prefix), self._described(place, vendor)
        if place.row is not None and name != place.row and plain:
            self.bare[name] = vendor.title
        if place.key is not None:
            entry["api_key"] = place.key
        if place.headers:
            entry["headers"] = dict(place.headers)
        self.places[place] = name
        self.providers[name] = entry
        return name

    def _built_in(self, place: Place) -> dict[str, Any]:
        """Returns what is to be said of a provider that has its built-in name."""
        entry: dict[str, Any] = {} if place.base_url is None else {"base_url": place.base_url}
        return {**entry, **dict(place.cloud)}

    def _described(self, place: Place, vendor: Vendor) -> dict[str, Any]:
        """Returns what is to be said of a provider with a name of its own, which inherits nothing."""
        entry: dict[str, Any] = {}
        if vendor.cloud:
            region = dict(place.cloud).get("region", "")
            there = BEDROCK.format(region=region, more=".cn" if region.startswith("cn-") else "")
            return {"base_url": place.base_url or there, "dialect": place.dialect, **dict(place.cloud)}
        url = place.base_url or (self.rows[place.row].base_url if place.row is not None else None)
        if url is not None:
            entry["base_url"] = url.rstrip("/") + AZURE_V1_PATH if vendor.own_address else url
        if place.dialect != "chat":
            entry["dialect"] = place.dialect
        if place.local:
            entry["owned"] = True
        return entry

    def _new_name(self, place: Place, vendor: Vendor, prefix: str) -> str:
        """Returns a name made of the kind and the address, which is none of the built-in ones."""
        host = label(place.base_url) or slug(dict(place.cloud).get("region", "").strip("${}")) * bool(place.cloud)
        stem = place.row or slug(prefix)
        wished = f"{stem}-{host}" if host and (place.base_url is None or place.base_url != vendor.base_url) else stem
        if host and prefix in _NO_STEM:
            wished = host if host[0].isalpha() else f"server-{host}"
        taken = {*self.providers, *self.rows, OWN, AUTO}
        name, number = wished, 2
        while name in taken:
            name, number = f"{wished}-{number}", number + 1
        return name

    def reference(self, value: Value, used_for: str) -> str | None:
        """Returns `${NAME}` for `os.environ/NAME` or a `${NAME}`, None for any other value."""
        text = value.text() or ""
        if text.startswith(_REFERENCE):
            name = text.removeprefix(_REFERENCE).strip()
            if not _NAME.fullmatch(name):
                name = variable_name(name)
        elif _OURS.fullmatch(text):
            name = text[2:-1].partition(":-")[0]
        else:
            return None
        return self.variable(name, used_for)

    def variable(self, name: str, used_for: str) -> str:
        """Returns a reference to an environment variable."""
        self.variables.setdefault(name, Variable(name, used_for))
        return f"${{{name}}}"

    def secret(self, text: str, wished: str, used_for: str) -> str:
        """Returns a reference to a variable that takes the place of a secret written in the source."""
        if text not in self.secrets:
            name, number = wished, 2
            while name in self.variables or name in self.reserved:
                name, number = f"{wished}_{number}", number + 1
            self.variables[name] = Variable(name, used_for, secret_was_literal=True)
            self.secrets[text] = f"${{{name}}}"
        return self.secrets[text]


def literal(text: str) -> str:
    """Returns text that the loader reads back unchanged, references of the form `${NAME}` left to be expanded."""
    return text if _OURS.fullmatch(text) else text.replace("${", "$${")


def shown(text: str) -> str:
    """Returns a name of the source for a message."""
    return redact(text, 80)


def usable(name: str) -> bool:
    """Whether a name can be asked for here."""
    return _MODEL_NAME.fullmatch(name) is not None


def slug(text: str) -> str:
    """Returns `text` as a provider's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "provider"


def variable_name(text: str) -> str:
    """Returns `text` as the name of an environment variable."""
    name = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")[:60] or "SECRET"
    return f"_{name}" if name[0].isdigit() else name


def host_of(url: str) -> str:
    """Returns host and port of a URL as text, empty where there is none; a URL in a variable has none."""
    found = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:[^/@?#]*@)?(\[[^\]]*\]|[^/:?#]*)(:\d+)?", url)
    return (found.group(1) + (found.group(2) or "")) if found else ""


def label(url: str | None) -> str:
    """Returns the part of an address that people would call it by: the first label of a name, or a whole IP address."""
    if url is None:
        return ""
    if variable := re.match(r"\$\{([A-Za-z0-9_]+)", url):
        words = [
            word for word in variable.group(1).lower().split("_") if word not in ("api", "base", "url", "endpoint")
        ]
        return slug("-".join(words))
    host, _, port = host_of(url).partition(":") if not url.startswith("[") else (host_of(url), "", "")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        label = host.split(".")[0]
        if label == "localhost":
            return slug(f"local-{port}" if port else "local")
        generic = label in ("api", "www", "gateway", "llm", "inference")
        return slug("-".join(host.split(".")[:2]) if generic else label)
    return slug(f"local-{port}" if host.startswith("127.") or host == "0.0.0.0" else host)  # noqa: S104 a name
