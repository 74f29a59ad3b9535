"""Rules of routes and roles that types cannot say.

What a route can never meet is told by decide/feasible.py, which knows the deployments.
"""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config
from freehold.config.schema_routing import Auto
from freehold.errors import redact


def check_route(path: KeyPath, route: Auto, config: Config, problems: Problems, *, partial: bool) -> None:
    if route.among and route.split:
        problems.add(
            (*path, "split"), "a route either ranks among several or splits, not both", "leave one of them out"
        )
    if not partial and not route.among and not route.split and not route.schedule:
        problems.add(path, "a route needs among, split or schedule", "among: [own/small, openai/gpt-5-mini]")
    if route.role is not None:
        _check_role((*path, "role"), route.role, config, problems)
    if route.split and (given := _ranking(route)):
        problems.add((*path, given), "a split does not rank", "give it to a route named in the split")
    if route.weights is not None:
        if route.objective != "balanced":
            problems.add((*path, "weights"), "only objective balanced weighs", "objective: balanced")
        if not route.weights.quality + route.weights.cost + route.weights.latency:
            problems.add((*path, "weights"), "something must count", "quality: 0.5")
    if route.floor is not None and route.quality is not None:
        problems.add((*path, "quality"), "floor is the stricter rule of the two", "leave one of them out")
    if route.explore is not None and route.floor is not None:
        problems.add((*path, "explore"), "exploring breaks the guarantee of floor", "leave one of them out")
    for index, slot in enumerate(route.schedule):
        where = (*path, "schedule", index)
        try:
            ZoneInfo(slot.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.add((*where, "zone"), f"no time zone {redact(slot.zone, 60)} is known here", "like Europe/Berlin")
        if slot.since == slot.until:
            problems.add((*where, "until"), "begins and ends at the same minute", "00:00 and 24:00 are the whole day")


def _ranking(route: Auto) -> str | None:
    """What a route says that only ranking needs."""
    usual = Auto()
    names = ("floor", "quality", "price", "weights", "pin", "cascade", "hedge", "explore", "objective")
    return next((name for name in names if getattr(route, name) != getattr(usual, name)), None)


def _check_role(path: KeyPath, role: str, config: Config, problems: Problems) -> None:
    if role not in config.roles:
        hint = did_you_mean(role, list(config.roles)) or "add it under roles"
        problems.add(path, f"no role {redact(role, 60)}", hint)
