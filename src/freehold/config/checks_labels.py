"""The rules of labels, environments, regions and budgets that types cannot say."""

import re
from collections.abc import Collection, Iterable
from datetime import date

from freehold.config.budgets import parse_budget
from freehold.config.label_names import LEVELS, REGION, is_compartment, known_compartments, split_label
from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.regions import is_region
from freehold.config.schema import Config, Key, ModelFacts
from freehold.config.schema_checks import CheckRules
from freehold.config.schema_routing import Environment, Level, Sinks
from freehold.errors import redact

OWN = "own"
LONGEST_PATTERN = 200
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check_labels(config: Config, problems: Problems, providers: Collection[str] | None = None) -> None:
    """Notes every broken rule. `providers`: the built-in providers' names; None leaves out what needs them."""
    known = {OWN, *config.providers, *providers} if providers is not None else None
    compartments = known_compartments(config)
    for index, name in enumerate(config.labels.compartments):
        if not is_compartment(name):
            problems.add(("labels", "compartments", index), "not usable as a compartment's name", "such as legal")
    _check_label(config.labels.default, ("labels", "default"), compartments, problems)
    _check_levels(config, problems, known)
    _check_flows(config, compartments, problems)
    _check_providers(config, compartments, problems)
    for name, environment in config.environments.items():
        _check_environment(environment, ("environments", name), problems, known)
    if config.environment is not None and (wrong := _no_environment(config, config.environment)):
        problems.add(("environment",), *wrong)
    for number, key in enumerate(config.keys):
        path: KeyPath = ("keys", number)
        for field, what, hint in _key_mistakes(config, key, compartments):
            problems.add((*path, field), what, hint)
        _check_names(key.providers, (*path, "providers"), problems, known)


def _check_flows(config: Config, compartments: frozenset[str], problems: Problems) -> None:
    """What is said of sinks and sources."""
    for field in Sinks.__struct_fields__:
        text: str | None = getattr(config.labels.sinks, field)
        if text is None:
            continue
        path: KeyPath = ("labels", "sinks", field)
        _check_label(text, path, compartments, problems)
        if REGION in text.lower():
            problems.add(path, "a region is where something lies, not what it is cleared for", "leave the region out")
    for pattern, text in config.labels.sources.tools.items():
        path = ("labels", "sources", "tools", pattern)
        _check_label(text, path, compartments, problems)
        if not pattern.strip() or len(pattern) > LONGEST_PATTERN:
            problems.add(path, "not usable as the name of a tool", "such as crm_*", key=True)
    if config.labels.answers and not any(
        (config.checks.answer, *(rules.answer for rules in _overrides(config))),
    ):
        hint = "checks: {answer: {secrets: allow, personal: allow}}"
        problems.add(("labels", "answers"), "answers are looked at only where checks.answer says for what", hint)


def _overrides(config: Config) -> list[CheckRules]:
    return [*config.checks.keys.values(), *config.checks.routes.values()]


def key_trouble(config: Config, key: Key) -> str | None:
    """Returns why a key that is kept beside freehold.yaml cannot be used with it, None when it can.

    Whoever cannot be held to his label, environment, role or budget gets nothing.
    """
    for field, what, _ in _key_mistakes(config, key, known_compartments(config)):
        return f"its {field} cannot be kept to: {what}"
    return None


def _key_mistakes(config: Config, key: Key, compartments: frozenset[str]) -> Iterable[tuple[str, str, str | None]]:
    """Yields field, mistake and hint."""
    if key.label is not None and (wrong := _wrong_label(key.label, compartments)):
        yield "label", *wrong
    if key.environment is not None and (missing := _no_environment(config, key.environment)):
        yield "environment", *missing
    if key.role is not None and key.role not in config.roles:
        hint = did_you_mean(key.role, list(config.roles)) or "add it under roles"
        yield "role", f"no role {redact(key.role, 60)}", hint
    if key.budget is not None:
        try:
            parse_budget(key.budget)
        except ValueError as error:
            yield "budget", str(error), "weeks begin on Monday, days at midnight UTC"


def _check_levels(config: Config, problems: Problems, known: Collection[str] | None) -> None:
    """What a level admits, a lower one must admit too: its rules hold for all above it."""
    below: tuple[str, Level] | None = None
    for name in LEVELS:
        level: Level | None = getattr(config.labels, name)
        path: KeyPath = ("labels", name)
        if level is None:
            continue
        if level.only == "owned" and level.providers:
            problems.add((*path, "providers"), "only: owned leaves nothing to choose", "take one of the two out")
        _check_names(level.providers, (*path, "providers"), problems, known)
        for index, provider in enumerate(level.providers or ()):
            if wrong := _cannot_see(config, provider, name, below):
                problems.add((*path, "providers", index), *wrong)
        below = (name, level) if below is None or level.only or level.providers is not None else below


def _cannot_see(
    config: Config, provider: str, level: str, below: tuple[str, Level] | None
) -> tuple[str, str | None] | None:
    """Returns why a provider that is named for a level would never see it all the same, and the hint."""
    given = config.providers.get(provider)
    if provider == OWN or (given is not None and given.owned):
        return None
    shown = redact(provider, 60)
    if below is not None:
        name, rule = below
        if rule.only == "owned" or (rule.providers is not None and provider not in rule.providers):
            hint = f"name it under {name} as well; owned models need no naming"
            return f"{shown} may not even see {name}, whose rules hold for {level} too", hint
    if given is not None and given.cleared is not None:
        cleared = given.cleared.lower().split("+")
        highest = max((LEVELS.index(part) for part in cleared if part in LEVELS), default=0)
        if highest < LEVELS.index(level):
            return f"{shown} is cleared for {LEVELS[highest]} at most", f"raise cleared under providers.{shown}"
    return None


def _check_providers(config: Config, compartments: frozenset[str], problems: Problems) -> None:
    for name, provider in config.providers.items():
        path: KeyPath = ("providers", name)
        if provider.cleared is not None:
            _check_label(provider.cleared, (*path, "cleared"), compartments, problems)
            if REGION in provider.cleared.lower():
                hint = "write region: eu under the provider"
                problems.add((*path, "cleared"), "a region is where it answers, not what it is cleared for", hint)
        if provider.region is not None:
            _check_region(provider.region, (*path, "region"), problems)
        for model, facts in provider.models.items():
            _check_facts(facts, (*path, "models", model), problems)
    for index, owned in enumerate(config.own):
        if owned.facts is not None:
            _check_facts(owned.facts, ("own", index, "facts"), problems)


def _check_facts(facts: ModelFacts, path: KeyPath, problems: Problems) -> None:
    if facts.region is not None:
        _check_region(facts.region, (*path, "region"), problems)
    if facts.retires is not None and not is_date(facts.retires):
        problems.add((*path, "retires"), "expected an ISO 8601 date", "like 2027-01-31")


def _check_environment(
    environment: Environment, path: KeyPath, problems: Problems, known: Collection[str] | None
) -> None:
    if environment.only == "owned" and environment.providers:
        problems.add((*path, "providers"), "only: owned leaves nothing to choose", "take one of the two out")
    _check_names(environment.providers, (*path, "providers"), problems, known)
    for index, region in enumerate(environment.regions or ()):
        _check_region(region, (*path, "regions", index), problems)


def _check_label(text: str, path: KeyPath, compartments: frozenset[str], problems: Problems) -> None:
    if wrong := _wrong_label(text, compartments):
        problems.add(path, *wrong)


def _wrong_label(text: str, compartments: frozenset[str]) -> tuple[str, str] | None:
    """Returns what is wrong and the hint. The text itself is not repeated: it may come from the environment."""
    try:
        split_label(text, compartments)
    except ValueError:
        known = f"levels are {', '.join(LEVELS)}; compartments are {', '.join(sorted(compartments))}"
        return "expected a level and compartments that exist, such as internal+phi", known
    return None


def _check_region(region: str, path: KeyPath, problems: Problems) -> None:
    if not is_region(region.lower()):
        problems.add(path, "not a region's name", "letters, digits and dashes, such as eu or eu-central-1")


def _check_names(names: list[str] | None, path: KeyPath, problems: Problems, known: Collection[str] | None) -> None:
    for index, name in enumerate(names or ()):
        if known is not None and name not in known:
            hint = did_you_mean(name, list(known)) or "the name is the first part of provider/model"
            problems.add((*path, index), f"no provider {redact(name, 60)}", hint)


def _no_environment(config: Config, name: str) -> tuple[str, str | None] | None:
    if name in config.environments:
        return None
    hint = did_you_mean(name, config.environments) or "add it under environments"
    return f"no environment {redact(name, 60)}", hint


def is_date(text: str) -> bool:
    """Whether `text` is a date as YYYY-MM-DD: such dates sort as texts."""
    try:
        return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False
