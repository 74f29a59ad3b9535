"""Virtual keys: 128 bits or more of secret, kept only as SHA-256.

A key is looked up by its digest, so the comparison runs over a value the caller cannot steer: a dictionary lookup
tells an attacker nothing about other keys. (SHA-256 without salt is right for random secrets, not for passwords;
that is why keys are made here or must be long.)

Keys come from two places: `keys:` in freehold.yaml, and FREEHOLD_HOME/keys.json, which `freehold keys` writes and
the first start fills with one key. Whoever changes that file holds a lock beside it, so that no change is lost.
"""

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.config.budgets import Budget, parse_budget
from freehold.config.schema import Key
from freehold.config.schema_routing import Objective
from freehold.errors import BadRequest, ConfigError, Forbidden, Unauthorized
from freehold.home import write_private

PREFIX = "fh-"
MIN_LENGTH = 16


class Principal(Struct, frozen=True, cache_hash=True):
    """Who a request comes from. `models` None: may ask for every name. Limits are per minute, None: no limit."""

    name: str
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires: float | None = None
    """Unix time in seconds."""
    label: str | None = None
    """The least label of its requests; None: the configuration's default."""
    providers: frozenset[str] | None = None
    """Who may answer it; None: everybody."""
    environment: str | None = None
    """None: the gateway's."""
    budget: Budget | None = None
    role: str | None = None
    objective: Objective | None = None
    trouble: str | None = None
    """Why nothing is done for it although it is known."""

    def may_ask(self, model: str) -> bool:
        return self.models is None or model in self.models


def make_secret() -> str:
    """Returns a new key: 192 random bits."""
    return PREFIX + secrets.token_urlsafe(24)


def digest(secret: str | bytes) -> bytes:
    return hashlib.sha256(secret if isinstance(secret, bytes) else secret.encode()).digest()


def expiry(text: str) -> float:
    """Unix time of an ISO 8601 date or time; a date ends with its day, a time without zone is UTC."""
    moment = datetime.fromisoformat(text)
    if "T" not in text and " " not in text:
        moment = moment.replace(hour=23, minute=59, second=59)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Keyring:
    """All keys in force. Built whole at load and replaced whole."""

    def __init__(self, keys: Iterable[Key], trouble: Callable[[Key], str | None] = lambda _: None) -> None:
        """`trouble` says why a key cannot be held to its rules (`config.checks_labels.key_trouble`): it is then refused
        when it is used, and the others are not.

        Raises ConfigError for a key without secret or hash, or one that is too short to be safe unsalted.
        """
        self._principals: dict[bytes, Principal] = {}
        for key in keys:
            if key.key is not None:
                if len(key.key) < MIN_LENGTH:
                    raise ConfigError(
                        f"key {key.name!r} is shorter than {MIN_LENGTH} characters", hint="freehold keys add NAME"
                    )
                identity = digest(key.key)
            elif key.hash is not None:
                identity = bytes.fromhex(key.hash.removeprefix("sha256:"))
            else:
                raise ConfigError(f"key {key.name!r} has neither key nor hash", hint="freehold keys add NAME makes one")
            self._principals[identity] = principal_of(key, trouble(key))

    def __len__(self) -> int:
        return len(self._principals)

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Finds the caller by `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or `api-key`.

        A client may send two: a provider's key left in its environment beside ours. Then the one that is known counts.
        Raises Unauthorized without a key or with one that is unknown or expired.
        """
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        bearer = value.strip() if scheme.lower() == b"bearer" else None
        for name in _KEY_HEADERS:
            sent = headers.get(name)
            if sent is not None and (bearer is None or self.knows(sent.strip())):
                return self.identify(sent.strip())
        if bearer is not None:
            return self.identify(bearer)
        raise Unauthorized(
            "no API key was sent",
            hint="send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
            code="missing_api_key",
        )

    def knows(self, secret: bytes) -> bool:
        return hashlib.sha256(secret).digest() in self._principals

    def identify(self, secret: bytes) -> Principal:
        """Raises Unauthorized when `secret` is not a key in force."""
        principal = self._principals.get(hashlib.sha256(secret).digest())
        if principal is None:
            raise Unauthorized(
                "this API key is not known here", hint="freehold keys list shows the names, freehold keys add makes one"
            )
        if principal.expires is not None and time.time() > principal.expires:
            raise Unauthorized(f"the key {principal.name!r} has expired", hint="ask for a new key")
        if principal.trouble is not None:
            raise Forbidden(
                f"the key {principal.name!r} cannot be used: {principal.trouble}",
                hint="whoever runs this gateway can mend freehold.yaml or make a new key",
                code="key_unusable",
            )
        return principal


def principal_of(key: Key, trouble: str | None) -> Principal:
    budget = None
    if key.budget is not None:
        try:
            budget = parse_budget(key.budget)
        except ValueError as error:
            trouble = trouble or f"its budget cannot be kept to: {error}"
    return Principal(
        key.name,
        frozenset(key.models) if key.models is not None else None,
        key.requests_per_minute,
        key.tokens_per_minute,
        expiry(key.expires) if key.expires else None,
        key.label,
        frozenset(key.providers) if key.providers is not None else None,
        key.environment,
        budget,
        key.role,
        key.objective,
        trouble,
    )


_KEY_HEADERS = (b"x-api-key", b"x-goog-api-key", b"api-key")


def check_model(principal: Principal, model: str) -> None:
    """Raises Forbidden when the key is limited to other names."""
    if not principal.may_ask(model):
        raise Forbidden(
            f"the key {principal.name!r} may not use {model!r}",
            hint="it may use: " + ", ".join(sorted(principal.models or ())),
            code="model_not_allowed",
            param="model",
        )


# The key file


def read_keys(path: Path) -> list[Key]:
    """Returns the keys in `path`, none when there is no such file. Raises ConfigError when it cannot be read whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return msgspec.json.decode(content, type=list[Key])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"the key file cannot be read: {error}",
            where=str(path),
            hint="restore it, or remove it to start with a new key",
        ) from error


def write_keys(path: Path, keys: list[Key]) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(keys), indent=2))


def add_key(path: Path, key: Key) -> str:
    """Adds `key` under a new secret, which is returned and kept nowhere. Raises BadRequest when the name is taken."""
    with _alone(path):
        keys = read_keys(path)
        if any(other.name == key.name for other in keys):
            raise BadRequest(
                f"there is a key named {key.name!r} already", hint=f"freehold keys remove {key.name}", code="key_exists"
            )
        secret = make_secret()
        key.key = None
        key.hash = "sha256:" + digest(secret).hex()
        write_keys(path, [*keys, key])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Raises BadRequest when there is no key of that name."""
    with _alone(path):
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise BadRequest(f"there is no key named {name!r}", hint="freehold keys list", code="key_unknown")
        write_keys(path, left)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process changes the key file. The lock is a file of its own, because `path` is replaced."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
