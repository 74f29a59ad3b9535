"""Keys: every way to send one, every reason to refuse one, and no secret on disk."""

from pathlib import Path

import pytest

from freehold.admit.keys import Keyring, add_key, check_model, digest, expiry, read_keys, remove_key
from freehold.config.budgets import Budget
from freehold.config.schema import Key
from freehold.errors import BadRequest, ConfigError, Forbidden, Unauthorized

SECRET = "fh-0123456789abcdef"


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + SECRET.encode()),
        (b"authorization", b"bearer  " + SECRET.encode()),
        (b"x-api-key", SECRET.encode()),
        (b"x-goog-api-key", SECRET.encode()),
        (b"api-key", SECRET.encode()),
    ],
)
def test_each_header_is_accepted(header: tuple[bytes, bytes]) -> None:
    ring = Keyring([Key("ci", key=SECRET)])
    assert ring.authenticate(dict([header])).name == "ci"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b"Basic abc"},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"x-api-key": b""},
        {b"x-api-key": SECRET[:-1].encode()},
        {b"x-api-key": b"\xff" * 40},
    ],
)
def test_anything_else_is_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Unauthorized):
        Keyring([Key("ci", key=SECRET)]).authenticate(headers)


def test_no_keys_means_nobody_gets_in() -> None:
    with pytest.raises(Unauthorized):
        Keyring([]).authenticate({b"x-api-key": b""})


def test_a_key_by_hash_is_the_same_key() -> None:
    ring = Keyring([Key("ci", hash="sha256:" + digest(SECRET).hex())])
    assert ring.identify(SECRET.encode()).name == "ci"


def test_a_short_or_empty_key_is_refused_at_load() -> None:
    with pytest.raises(ConfigError):
        Keyring([Key("weak", key="secret")])
    with pytest.raises(ConfigError):
        Keyring([Key("none")])


def test_an_expired_key_says_so() -> None:
    ring = Keyring([Key("old", key=SECRET, expires="2020-01-01")])
    with pytest.raises(Unauthorized, match="expired"):
        ring.identify(SECRET.encode())


def test_a_date_ends_with_its_day() -> None:
    assert expiry("2030-01-01") == expiry("2030-01-01T23:59:59+00:00")


def test_a_limited_key_may_ask_only_for_its_models() -> None:
    principal = Keyring([Key("ci", key=SECRET, models=["fast"])]).identify(SECRET.encode())
    check_model(principal, "fast")
    with pytest.raises(Forbidden, match="slow"):
        check_model(principal, "slow")


def test_made_keys_are_kept_hashed_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    secret = add_key(path, Key("app", requests_per_minute=5))
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keyring(read_keys(path)).identify(secret.encode()).requests_per_minute == 5
    with pytest.raises(BadRequest):
        add_key(path, Key("app"))
    remove_key(path, "app")
    assert read_keys(path) == []
    with pytest.raises(BadRequest):
        remove_key(path, "app")


def test_an_unreadable_key_file_is_an_error_not_an_open_door(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{not json")
    with pytest.raises(ConfigError):
        read_keys(path)


def test_what_a_key_may_reach_comes_with_its_principal() -> None:
    given = Key(
        "bot", key=SECRET, label="confidential", providers=["own"], environment="dev", role="bulk", budget="$5/day"
    )
    principal = Keyring([given]).identify(SECRET.encode())
    assert (principal.label, principal.providers, principal.environment, principal.role) == (
        "confidential", frozenset({"own"}), "dev", "bulk",
    )  # fmt: skip
    assert principal.budget == Budget(5.0, "day")
    assert {principal: 1}[Keyring([given]).identify(SECRET.encode())] == 1


def test_a_key_that_cannot_be_held_to_its_rules_is_refused_and_the_others_are_not() -> None:
    other = "fh-another-0123456789"
    keys = [Key("bot", key=SECRET, environment="gone"), Key("ci", key=other)]
    ring = Keyring(keys, lambda key: f"no environment {key.environment}" if key.environment else None)
    with pytest.raises(Forbidden, match="'bot' cannot be used: no environment gone"):
        ring.identify(SECRET.encode())
    assert ring.identify(other.encode()).name == "ci"
    with pytest.raises(Forbidden, match="budget"):
        Keyring([Key("bot", key=SECRET, budget="lots")]).identify(SECRET.encode())
