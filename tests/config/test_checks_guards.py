"""What `checks:` says of guard models, of models that find names, and of people who are asked."""

from pathlib import Path

import pytest

from freehold.config.load import load
from freehold.config.problems import ConfigErrors
from freehold.errors import ConfigError
from freehold.serve.rehearsal import rehearse


def mistakes(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "freehold.yaml"
    path.write_text(text)
    try:
        load(path, {})
    except ConfigErrors as errors:
        return [(error.where.partition(":")[2], error.message) for error in errors.errors]
    return []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checks: {guard: {model: qwen3guard}}", "qwen3guard is no owned deployment"),
        (
            "providers: {far: {base_url: 'http://f/v1', owned: false}}\nchecks: {guard: {model: far/qwen3guard}}",
            "far/qwen3guard is no owned deployment",
        ),
        ("checks: {guard: {model: own/qwen3guard, thresholds: {hatred: 0.5}}}", "no category hatred"),
        ("checks: {guard: {model: own/qwen3guard}, request: {harm: redact}}", "harm cannot be taken out of a request"),
        ("checks: {request: {harm: block}}", "nobody finds harm without checks.guard"),
        ("checks: {keys: {a: {request: {person: label}}}}", "nobody finds person without checks.names"),
        ("checks: {names: {model: own/x}, answer: {person: redact}}", "no type or group of findings person"),
        ("checks: {moderation: {by: guard}}", "the model that moderates is not given"),
        (
            "checks: {moderation: {model: own/llama-guard-3}}",
            "the model that moderates is given for another judge than the local one",
        ),
        (
            "checks: {moderation: {by: rented, model: openai/omni, thresholds: {hate: 0.1}}}",
            "a rented model has thresholds of its own",
        ),
        ("checks: {ask: {seconds: 0}}", "expected a number from 1 to 86400"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, said: str) -> None:
    found = mistakes(tmp_path, text)
    assert any(said in message for _, message in found), found


@pytest.mark.parametrize(
    "text",
    [
        "checks: {guard: {model: own/Qwen3Guard-Gen-4B, answers: true}, request: {harm: own, guard_error: ask}}",
        "checks: {names: {model: own/qwen3-4b}, request: {person: redact, address: label}, labels: {person: internal}}",
        "checks: {moderation: {by: guard, model: own/mine, family: shieldgemma, thresholds: {hate: 0.2}}}",
        "checks: {request: {secrets: ask, unchecked: ask}, ask: {wait: false, seconds: 3600, approvers: [chief]}}",
        "checks: {moderation: {by: rented, model: mistral/mistral-moderation-latest}}",
    ],
)
def test_what_is_right(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, text) == []


@pytest.mark.parametrize(
    "text", ["guard: {model: own/llama-3}", "moderation: {by: guard, model: own/x}", "guard: {model: own/x, family: y}"]
)
def test_a_guard_model_of_no_known_family_is_refused_before_it_is_in_force(tmp_path: Path, text: str) -> None:
    path = tmp_path / "freehold.yaml"
    path.write_text(f"checks: {{{text}}}")
    with pytest.raises(ConfigError, match="no family of guard models"):
        rehearse(load(path, {}))


@pytest.mark.parametrize("text", ["guard: {model: openai/qwen3guard}", "names: {model: far/x}"])
def test_what_sees_requests_must_be_owned(tmp_path: Path, text: str) -> None:
    path = tmp_path / "freehold.yaml"
    path.write_text(f"providers: {{far: {{base_url: 'http://far.example/v1'}}}}\nchecks: {{{text}}}")
    with pytest.raises(ConfigErrors, match="no owned deployment"):
        rehearse(load(path, {}))
