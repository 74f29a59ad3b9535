"""`checks:` in freehold.yaml: what is wrong is said with its place."""

from pathlib import Path

import pytest

from freehold.check.detect import DEFAULT_LABELS
from freehold.config.load import load
from freehold.config.problems import ConfigErrors
from freehold.config.schema_checks import TYPES, spelled_out


def mistakes(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "freehold.yaml"
    path.write_text(text)
    try:
        load(path, {})
    except ConfigErrors as errors:
        return [(error.where.partition(":")[2], error.message) for error in errors.errors]
    return []


def test_the_types_are_those_that_detectors_find() -> None:
    assert set(DEFAULT_LABELS) == TYPES


def test_a_type_wins_over_its_group() -> None:
    rules = spelled_out({"email": "allow", "personal": "redact", "exfiltration": "block", "detector_error": "own"})
    assert (rules["email"], rules["iban"]) == ("allow", "redact")
    assert (rules["exfiltration"], rules["detector_error"]) == ("block", "own")
    assert "personal" not in rules
    assert "secret" not in rules


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("checks: {request: {emails: block}}", "1:20", "no type or group of findings emails"),
        ("checks: {request: {secret: sing}}", "1:28", "expected one of allow, ask, block, label, own"),
        ("checks: {answer: {secret: label}}", "1:27", "expected one of allow, block, redact"),
        ("checks: {answer: {unchecked: block}}", "1:19", "no type or group"),
        ("checks: {labels: {email: cosmic}}", "1:26", "expected a level and compartments that exist"),
        ("checks: {answer: {injection: block}}", "1:18", "judged over a whole text"),
        ("checks:\n  keys: {a: {answer: {injection: block}}}", "2:22", "judged over a whole text"),
        (
            "checks:\n  streams: strict\n  answer: {injection: block}\n  routes: {a/b: {streams: hold}}",
            "4:27",
            "judged",
        ),
        ("checks: {routes: {nobody: {mode: monitor}}}", "1:19", "no alias or route nobody"),
        ("checks: {moderation: {thresholds: {hatred: 0.5}}}", "1:36", "no category hatred"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, text: str, place: str, said: str) -> None:
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert found[0][0] == place
    assert said in found[0][1]


def test_what_is_right_is_right(tmp_path: Path) -> None:
    assert not mistakes(
        tmp_path,
        """
models: {smart: {among: [openai/a, openai/b]}}
checks:
  mode: monitor
  streams: strict
  request: {secrets: block, personal: redact, email: allow, unchecked: own, detector_error: block}
  answer: {injection: block, exfiltration: redact}
  labels: {email: internal, iban: confidential+pci}
  skip: [hostname]
  trusted_hosts: [example.com]
  keys: {anybody: {mode: "off"}}
  routes: {smart: {request: {secrets: own}}, openai/a: {streams: monitor}}
  moderation: {answer: always, thresholds: {hate: 0.4}}
""",
    )
