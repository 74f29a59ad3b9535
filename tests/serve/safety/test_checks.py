"""What becomes of a request when looking at it fails, takes too long, or finds what the rules say something about."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from freehold.admit.keys import Principal
from freehold.config.label_names import BUILT_IN
from freehold.config.schema import Config
from freehold.config.schema_checks import CheckRules
from freehold.config.schema_checks import Checks as Settings
from freehold.errors import ConfigError, PolicyError
from freehold.labels import Label
from freehold.labels.lattice import HIGHEST
from freehold.serve.safety import checks
from freehold.serve.safety.checks import Checked, Checks, compiled

SECRET = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
COUNTED: list[tuple[str, str, str]] = []


async def look(made: Checks, text: str, key: str = "k", asked: str = "m") -> tuple[Checked | None, bytes]:
    exchange: Any = SimpleNamespace(
        body=json.dumps({"a": text}).encode(), headers={b"content-type": b"application/json"}, content_type=""
    )
    COUNTED.clear()
    checked = await made.request(exchange, Principal(key), asked, lambda *what: COUNTED.append(what))
    return checked, exchange.body


def made(**settings: Any) -> Checks:
    return Checks(Settings(**settings), BUILT_IN)


class Broken:
    def find(self, *_: object) -> list[object]:
        raise RuntimeError("no")

    name, longest = "broken", 1


async def test_a_detector_that_fails_makes_the_request_restricted() -> None:
    one = made()
    one.rules._scanner._sweeps = [Broken()]  # type: ignore[list-item]
    checked, _ = await look(one, "nothing at all")
    assert checked is not None
    assert checked.label == Label(HIGHEST)
    assert COUNTED == [("request", "detector_error", "label")]
    two = made(request={"detector_error": "block"})
    two.rules._scanner._sweeps = [Broken()]  # type: ignore[list-item]
    with pytest.raises(PolicyError, match="detector_error"):
        await look(two, "nothing at all")
    three = made(request={"detector_error": "redact"})
    three.rules._scanner._sweeps = [Broken()]  # type: ignore[list-item]
    with pytest.raises(PolicyError):
        await look(three, "what nobody has seen cannot be taken out")


async def test_looking_that_takes_too_long_counts_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 10_000, 100))
    monkeypatch.setattr(checks, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    checked, _ = await look(made(), "word " * 300_000)
    assert checked is not None
    assert checked.found == ("detector_error",)
    assert checked.label == Label(HIGHEST)


async def test_nothing_found_costs_nothing_more() -> None:
    assert (await look(made(), "what is the capital of Norway?"))[0] is None
    assert not COUNTED


async def test_keys_win_over_names_and_both_over_the_general_rules() -> None:
    one = made(
        request={"secrets": "block"},
        keys={"loose": CheckRules(request={"secret": "allow"}), "watch": CheckRules(mode="monitor")},
        routes={"smart": CheckRules(request={"secret": "own"})},
    )
    with pytest.raises(PolicyError, match="secret") as caught:
        await look(one, SECRET)
    assert SECRET not in str(caught.value)
    checked, _ = await look(one, SECRET, asked="smart")
    assert checked is not None
    assert checked.home
    for key in ("loose", "watch"):
        checked, _ = await look(one, SECRET, key=key, asked="smart")
        assert checked is not None
        assert (checked.home, checked.label, checked.found) == (False, None, ())
    assert COUNTED == [("request", "secret", "would own")]


async def test_what_is_redacted_no_longer_raises_the_label() -> None:
    checked, body = await look(made(request={"secrets": "redact"}), f"my key is {SECRET} so")
    assert checked is not None
    assert (checked.label, checked.changed) == (None, True)
    assert json.loads(body) == {"a": "my key is [redacted secret] so"}


def test_a_rule_to_be_skipped_must_exist() -> None:
    made(skip=["email", "private-key"])
    with pytest.raises(ConfigError, match="nonsense"):
        made(skip=["nonsense"])


def test_the_same_rules_are_made_once() -> None:
    assert compiled(Config()) is compiled(Config())
