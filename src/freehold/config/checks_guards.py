"""The rules of `checks:` that ask owned models and people."""

from collections.abc import Mapping

from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config
from freehold.errors import redact

WHERELESS = ("harm", "guard_error")
"""Types that say nothing of where in a text they are, so that nothing can be taken out."""


def check_guards(config: Config, problems: Problems, *, partial: bool) -> None:
    """Notes every broken rule. Whether a guard model is of a family that is known is seen when it is put together."""
    checks = config.checks
    path: KeyPath = ("checks",)
    if checks.guard is not None:
        _owned(config, checks.guard.model, (*path, "guard", "model"), problems)
        _thresholds(checks.guard.thresholds, (*path, "guard", "thresholds"), problems)
    if checks.names is not None:
        _owned(config, checks.names.model, (*path, "names", "model"), problems)
    moderation = checks.moderation
    place = (*path, "moderation", "model")
    if (moderation.model is None) != (moderation.by == "local"):
        told = "is given for another judge than the local one" if moderation.by == "local" else "is not given"
        problems.add(place, f"the model that moderates {told}", "by: guard, model: own/NAME")
    elif moderation.model is not None and moderation.by == "guard":
        _owned(config, moderation.model, place, problems)
    if moderation.by == "rented" and moderation.thresholds:
        problems.add((*path, "moderation", "thresholds"), "a rented model has thresholds of its own", "by: local")
    for rules, where in (
        (checks.request, (*path, "request")),
        *((one.request, (*path, "keys", name, "request")) for name, one in checks.keys.items()),
        *((one.request, (*path, "routes", name, "request")) for name, one in checks.routes.items()),
    ):
        _actions(config, rules, where, problems)
    if not partial:
        known = [key.name for key in config.keys]
        for number, name in enumerate(checks.ask.approvers):
            close = did_you_mean(name, known) if name not in known else None
            if close is not None:
                problems.add((*path, "ask", "approvers", number), f"no key {redact(name, 60)}", close)


def _actions(config: Config, rules: Mapping[str, str], path: KeyPath, problems: Problems) -> None:
    for kind in WHERELESS:
        if rules.get(kind) in ("redact", "pseudonymise"):
            problems.add((*path, kind), f"{kind} cannot be taken out of a request", "block, own, ask, label or allow")
    for kind, part, asked in (
        ("harm", "guard", config.checks.guard),
        ("guard_error", "guard", config.checks.guard),
        ("person", "names", config.checks.names),
        ("address", "names", config.checks.names),
    ):
        if kind in rules and asked is None:
            problems.add((*path, kind), f"nobody finds {kind} without checks.{part}", f"{part}: {{model: own/NAME}}")


def _owned(config: Config, name: str, path: KeyPath, problems: Problems) -> None:
    """What judges a request sees all of it, so it must be one's own. Of a provider that the file says nothing of it is
    seen later whether it is (serve/rehearsal.py)."""
    settings = config.providers.get(name.partition("/")[0])
    if "/" not in name or (settings is not None and settings.owned is False):
        problems.add(path, f"{redact(name, 60)} is no owned deployment", "own/NAME, or a provider with owned: true")


def _thresholds(thresholds: Mapping[str, float], path: KeyPath, problems: Problems) -> None:
    from freehold.dialects.moderations import CATEGORIES  # slow to import, and few files need it

    for category in thresholds:
        if category not in CATEGORIES:
            hint = did_you_mean(category, list(CATEGORIES)) or "there are " + ", ".join(CATEGORIES)
            problems.add((*path, category), f"no category {redact(category, 60)}", hint, key=True)
