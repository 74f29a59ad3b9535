"""The rules of `cache:` that types cannot say."""

from freehold.config.label_names import known_compartments, split_label
from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config
from freehold.errors import redact


def check_cache(config: Config, problems: Problems, *, partial: bool) -> None:
    """Notes every broken rule."""
    cache = config.cache
    path: KeyPath = ("cache",)
    try:
        split_label(cache.clearance, known_compartments(config))
    except ValueError:
        hint = "such as internal or confidential+pci"
        problems.add((*path, "clearance"), "expected a level and compartments that exist", hint)
    member: dict[str, str] = {}
    for group, keys in cache.groups.items():
        for key in keys:
            if member.setdefault(key, group) != group:
                text = f"the key {redact(key, 60)} is in the group {redact(member[key], 60)} too"
                problems.add((*path, "groups", group), text, "a key shares answers with one group")
    for key, rules in cache.keys.items():
        if rules.semantic:
            problems.add((*path, "keys", key, "semantic"), "a key cannot switch this on", "say so under cache.routes")
    if partial:
        return
    for name in cache.routes:
        if name not in config.models and "/" not in name:
            hint = did_you_mean(name, list(config.models)) or "a deployment is provider/model"
            problems.add((*path, "routes", name), f"no alias or route {redact(name, 60)}", hint, key=True)
