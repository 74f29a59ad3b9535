"""The rules of `checks:` that types cannot say."""

from collections.abc import Iterable, Mapping

from freehold.config.checks_guards import check_guards
from freehold.config.label_names import known_compartments, split_label
from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config
from freehold.config.schema_checks import (
    GROUPS,
    OWNED,
    REPLACED,
    TYPES,
    UNCHECKED,
    CheckRules,
    StreamMode,
    spelled_out,
)
from freehold.config.schema_tools import Tools
from freehold.errors import redact

WHOLE = ("prompt_injection",)
"""Types that are judged over a whole text, so that a stream must be held back whole to act on them."""


def check_safety(config: Config, problems: Problems, *, partial: bool) -> None:
    """Notes every broken rule."""
    checks = config.checks
    path: KeyPath = ("checks",)
    _check_rules(checks.request, (*path, "request"), problems, more=(UNCHECKED, *OWNED))
    _check_rules(checks.answer, (*path, "answer"), problems)
    _check_streams(checks.answer, checks.streams, (*path, "answer"), problems)
    check_guards(config, problems, partial=partial)
    if checks.moderation.thresholds:
        _check_thresholds(checks.moderation.thresholds, (*path, "moderation", "thresholds"), problems)
    compartments = known_compartments(config)
    _check_tools(checks.tools, compartments, problems)
    for kind, text in checks.labels.items():
        if kind not in TYPES and kind not in OWNED:
            problems.add((*path, "labels", kind), *_no_type(kind, TYPES), key=True)
        else:
            try:
                split_label(text, compartments)
            except ValueError:
                hint = "such as confidential+pci"
                problems.add((*path, "labels", kind), "expected a level and compartments that exist", hint)
    for part, overrides in (("keys", checks.keys), ("routes", checks.routes)):
        for name, rules in overrides.items():
            _check_override(checks.answer, checks.streams, rules, (*path, part, name), problems)
    if partial:
        return
    for name in checks.routes:
        if name not in config.models and "/" not in name:
            hint = did_you_mean(name, list(config.models)) or "a deployment is provider/model"
            problems.add((*path, "routes", name), f"no alias or route {redact(name, 60)}", hint, key=True)


def _check_tools(tools: Tools, compartments: frozenset[str], problems: Problems) -> None:
    path: KeyPath = ("checks", "tools")
    for pattern, text in tools.clearance.items():
        try:
            split_label(text, compartments)
        except ValueError:
            hint = "such as confidential+pci"
            problems.add((*path, "clearance", pattern), "expected a level and compartments that exist", hint)
    for pattern, rule in tools.rules.items():
        for root in rule.roots or ():
            if not root.startswith("/"):
                problems.add((*path, "rules", pattern, "roots"), "a folder is absolute", "such as /srv/project")
        for host in rule.hosts or ():
            if "/" in host or ":" in host or "*" in host.removeprefix("*."):
                problems.add((*path, "rules", pattern, "hosts"), "not a host", "api.example.com or *.example.com")


def _check_thresholds(thresholds: Iterable[str], path: KeyPath, problems: Problems) -> None:
    from freehold.dialects.moderations import CATEGORIES  # slow to import, and few files need it

    for category in thresholds:
        if category not in CATEGORIES:
            hint = did_you_mean(category, list(CATEGORIES)) or "there are " + ", ".join(CATEGORIES)
            problems.add((*path, category), f"no category {redact(category, 60)}", hint, key=True)


def _check_override(
    answer: Mapping[str, str], streams: StreamMode, rules: CheckRules, path: KeyPath, problems: Problems
) -> None:
    _check_rules(rules.request, (*path, "request"), problems, more=(UNCHECKED, *OWNED))
    _check_rules(rules.answer, (*path, "answer"), problems)
    if rules.answer or rules.streams is not None:
        both = spelled_out(answer) | spelled_out(rules.answer)
        where = "answer" if rules.answer else "streams"
        _check_streams(both, rules.streams or streams, (*path, where), problems)


def _check_rules(rules: Mapping[str, str], path: KeyPath, problems: Problems, more: Iterable[str] = ()) -> None:
    known = {*GROUPS, *TYPES, *more}
    for name, action in rules.items():
        if action == "pseudonymise" and name in known and not REPLACED.issuperset(GROUPS.get(name, (name,))):
            problems.add((*path, name), "no placeholder can stand for that", "label, own or block")
        if name not in known:
            problems.add((*path, name), *_no_type(name, known), key=True)


def _check_streams(answer: Mapping[str, str], streams: StreamMode, path: KeyPath, problems: Problems) -> None:
    acting = [kind for kind, action in spelled_out(answer).items() if kind in WHOLE and action != "allow"]
    if acting and streams == "hold":
        problems.add(path, f"{acting[0]} is judged over a whole text, not while it streams", "streams: strict")


def _no_type(name: str, known: Iterable[str]) -> tuple[str, str]:
    close = did_you_mean(name, list(known))
    return f"no type or group of findings {redact(name, 60)}", close or "there are " + ", ".join(sorted(known))
