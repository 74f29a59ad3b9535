"""litellm_settings, router_settings, general_settings and environment_variables as the rest of freehold.yaml."""

from typing import Any

from freehold.config.litellm import known
from freehold.config.litellm.deployments import SPREAD, read_limits, seconds_of
from freehold.config.litellm.draft import Draft, shown, usable
from freehold.config.litellm.source import Value
from freehold.config.schema import Timeouts

_NEVER = 1_000_000
"""Failures in a row after which a breaker that should never open opens."""


def read_settings(root: Value, draft: Draft) -> None:
    """Adds every section but model_list to the draft, and settles all that is left of the source."""
    router, module, general = (root.get(f"{name}_settings") for name in ("router", "litellm", "general"))
    sections = [section for section in (router, module) if section is not None]
    _aliases(_pick(sections, "model_group_alias"), draft)
    _fallbacks(sections, draft)
    _reliability(sections, draft)
    _general(general, draft)
    _environment(root.get("environment_variables"), draft)
    strategy = _pick(sections, "routing_strategy")
    if strategy is not None:
        strategy.approximated("models", SPREAD)
    for section, table in ((router, known.ROUTER), (module, known.SETTINGS), (general, known.GENERAL)):
        for name, value in section.items() if section is not None else ():
            value.dropped(known.why_dropped(name, table, known.ROUTER, known.SETTINGS, known.GENERAL))
    for name, value in root.items():
        value.dropped(known.why_dropped(name, known.TOP) if value.content else "empty")


def _pick(sections: list[Value], name: str) -> Value | None:
    """Returns a field from the first section that has it: router_settings wins, as in LiteLLM."""
    found = [value for section in sections if (value := section.get(name)) is not None]
    for loser in found[1:]:
        loser.dropped("router_settings has it too, and wins")
    return found[0] if found else None


def _aliases(given: Value | None, draft: Draft) -> None:
    for name, value in given.items() if given is not None else ():
        wanted = value.get("model") or value
        hidden = value.get("hidden")
        if hidden is not None:
            hidden.dropped("every alias is listed")
        target = draft.called.get(wanted.text() or "")
        head, slash, _ = name.partition("/")
        if target is None:
            value.dropped("it stands for a model that is not there")
        elif not usable(name) or name in draft.models or (slash and head in {*draft.rows, *draft.providers}):
            value.dropped("the name is taken, or is none that can be asked for here")
        else:
            draft.models[name] = [target]
            draft.own_members[name] = draft.own_members.get(target, [target])
            draft.called.setdefault(name, name)
            wanted.mapped(f"models.{name}")


def _fallbacks(sections: list[Value], draft: Draft) -> None:
    """Fallbacks stand behind a model's own deployments in its alias."""
    named: set[str] = set()
    general: list[Value] = []
    for entry in _entries(_pick(sections, "fallbacks")):
        for group, targets in entry.items():
            if group == "*":
                general += targets.elements()
                continue
            alias = draft.called.get(group)
            named.add(alias or "")
            for target in targets.elements():
                _fall_back(alias, target, draft, "")
    for entry in _entries(_pick(sections, "context_window_fallbacks")):
        for group, targets in entry.items():
            alias = draft.called.get(group)
            for target in targets.elements():
                _fall_back(alias, target, draft, "tried after every failure, not only when the prompt is too long")
    defaults = _pick(sections, "default_fallbacks")
    general += defaults.elements() if defaults is not None else []
    for target in general:
        for alias in list(draft.own_members):
            if alias not in named:
                _fall_back(alias, target, draft, "", quiet=True)
        if draft.called.get(target.text() or "") is None:
            target.dropped("it names a model that is not there")
        else:
            target.mapped("models", "the last of every alias that has no fallbacks of its own")


def _entries(given: Value | None) -> list[Value]:
    return given.elements() if given is not None else []


def _fall_back(alias: str | None, target: Value, draft: Draft, differs: str, *, quiet: bool = False) -> None:
    """Adds one fallback to an alias, as a name where that makes no circle, else as its deployments."""
    wanted = draft.called.get(target.text() or "")
    if alias is None or wanted is None or alias not in draft.models:
        if not quiet:
            target.dropped(
                f"{shown(alias)} is a deployment, not an alias: it has no fallbacks"
                if alias is not None and wanted is not None
                else "it names a model that is not there"
            )
        return
    members = draft.models[alias]
    if wanted in members or wanted == alias:
        added = []
    elif _reaches(wanted, alias, draft.models):
        added = [name for name in draft.own_members[wanted] if name not in members]
        differs = differs or "its deployments alone: fallbacks both ways would go round in a circle"
    else:
        added = [wanted]
    members += added
    if quiet:
        return
    if differs:
        target.approximated(f"models.{alias}", differs)
    else:
        target.mapped(f"models.{alias}")


def _reaches(start: str, goal: str, models: dict[str, list[str]]) -> bool:
    """Whether an alias leads to another one."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo += models.get(name, [])
    return False


def _reliability(sections: list[Value], draft: Draft) -> None:
    retries = _pick(sections, "num_retries") or _pick(sections, "max_retries")
    if retries is not None:
        count = retries.number()
        if count is None or count < 0:
            retries.dropped("not a number of retries")
        else:
            draft.settings["retries"] = min(int(count), 10)
            retries.approximated("retries", "for one request over all deployments together, at most 10")
    _limits(sections, draft)
    breaker: dict[str, Any] = {}
    fails, cooldown = _pick(sections, "allowed_fails"), _pick(sections, "cooldown_time")
    if fails is not None and (count := fails.number()) is not None and count >= 0:
        breaker["failures"] = int(count) + 1
        fails.approximated("breaker.failures", "failures in a row, not in a minute; the one more that LiteLLM counts")
    if cooldown is not None and (seconds := seconds_of(cooldown, draft)) is not None:
        breaker["cooldown"] = seconds
        cooldown.mapped("breaker.cooldown")
    disabled = _pick(sections, "disable_cooldowns")
    if disabled is not None and disabled.flag():
        breaker["failures"] = _NEVER
        disabled.approximated("breaker.failures", "so many failures in a row that it never opens")
    elif disabled is not None:
        disabled.mapped("breaker", "cooling down is what happens anyway")
    if breaker:
        draft.settings["breaker"] = breaker
    drop = _pick(sections, "drop_params")
    if drop is not None and (flag := drop.flag()) is not None:
        if flag:
            drop.mapped("strict", "what a provider cannot take is left out and named in x-freehold-lost")
        else:
            draft.settings["strict"] = True
            drop.mapped("strict")


def _limits(sections: list[Value], draft: Draft) -> None:
    """General limits, and those of providers, which stand instead of the general ones as a whole."""
    limits = read_limits(lambda name: _pick(sections, name), "timeouts", draft)
    if limits:
        draft.settings["timeouts"] = _with_total(limits)
    for provider in draft.providers.values():
        if own := provider.get("timeouts"):
            provider["timeouts"] = _with_total({**limits, **own})


def _with_total(limits: dict[str, Any]) -> dict[str, Any]:
    """Raises the limit of the whole call where one of its parts may take longer than that."""
    longest = max((seconds for seconds in limits.values() if not isinstance(seconds, str)), default=0)
    return {**limits, "total": longest} if longest > Timeouts().total else limits


def _general(general: Value | None, draft: Draft) -> None:
    if general is None:
        return
    master = general.get("master_key")
    if master is not None and (text := master.text()):
        note = "an ordinary key here: it asks for models and nothing else; it has at least 16 characters"
        reference = draft.reference(master, "the key that clients send")
        if reference is None:
            reference = draft.secret(f"master {text}", "LITELLM_MASTER_KEY", "the key that clients send")
            note += f"; a key written in the file is not copied: set {reference[2:-1]}"
        draft.settings["keys"] = [{"name": "master", "key": reference}]
        master.approximated("keys[0]", note)
    size = general.get("max_request_size_mb")
    if size is not None and (number := size.number()) is not None and number > 0:
        draft.settings.setdefault("server", {})["max_body_mb"] = min(max(int(number), 1), 1024)
        size.mapped("server.max_body_mb")
    for name in ("max_in_flight_requests_per_worker", "global_max_parallel_requests"):
        value = general.get(name)
        if value is not None and (number := value.number()) is not None and number >= 1:
            draft.settings.setdefault("server", {}).setdefault("max_inflight", int(number))
            value.approximated("server.max_inflight", "for each worker; more are answered 503 at once")


def _environment(given: Value | None, draft: Draft) -> None:
    """environment_variables set the process's environment; here it is set outside."""
    for name, value in given.items() if given is not None else ():
        variable = draft.variables.get(name)
        if variable is None:
            value.dropped("freehold.yaml sets no variables, and nothing in it reads this one")
            continue
        text = value.text() or ""
        if variable.used_for.startswith("the address") and "://" in text and "@" not in text and "}" not in text:
            variable.default = text
            value.approximated("providers", f"the default where {name} is not set in the environment")
        else:
            value.approximated("the environment", f"freehold.yaml sets no variables: set {name} where Freehold runs")
