"""model_list: each entry becomes a provider, a deployment `provider/model`, and a place in an alias.

Entries of one model_name are LiteLLM's load balancing. Here an alias lists deployments in order of preference, so the
order is LiteLLM's own where it has one (`order`, then the larger `weight`), else that of the file.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from freehold.config.checks import OWN
from freehold.config.litellm import known
from freehold.config.litellm.draft import Draft, shown, usable
from freehold.config.litellm.endpoint import locate
from freehold.config.litellm.facts import read_facts
from freehold.config.litellm.source import Params, Value
from freehold.config.litellm.vendors import VENDORS, split

SPREAD = "LiteLLM spreads requests over them; here they are tried in this order, the next when one fails or is full"


class Member(Struct):
    """A deployment on its way into an alias."""

    target: str
    name: Value
    order: float = 0.0
    weight: float = 0.0


def read_models(root: Value, draft: Draft) -> None:
    """Adds every entry of model_list to the draft, and settles model_list and credential_list."""
    listed = root.get("model_list")
    credentials = _credentials(root)
    groups: dict[str, list[Member]] = {}
    for entry in listed.elements() if listed is not None else []:
        member = _read_entry(entry, draft, credentials)
        if member is not None:
            groups.setdefault(member.name.text() or "", []).append(member)
    for group, members in groups.items():
        _make_alias(group, members, draft)
    for name, credential in credentials.items():
        credential.dropped(f"nothing that can be called here uses the credential {shown(name)}")


def _credentials(root: Value) -> dict[str, Value]:
    found: dict[str, Value] = {}
    listed = root.get("credential_list")
    for entry in listed.elements() if listed is not None else []:
        name = entry.get("credential_name")
        text = name.text() if name is not None else None
        if text is None:
            entry.dropped("a credential without a name")
            continue
        found.setdefault(text, entry)
        if (info := entry.get("credential_info")) is not None:
            info.dropped("a remark; write it as a comment")
    return found


def _read_entry(entry: Value, draft: Draft, credentials: dict[str, Value]) -> Member | None:
    """Returns the deployment of one entry, None where there is none, which is then said of the entry."""
    name, own = entry.get("model_name"), entry.get("litellm_params")
    model = own.get("model") if own is not None else None
    text = model.text() if model is not None else None
    if name is None or name.text() is None or own is None or model is None or text is None:
        entry.dropped("not a model: it needs model_name and litellm_params.model")
        return None
    params = Params(own, _credential(own, credentials))
    given = params.get("custom_llm_provider")
    prefix, vendor_model, route = split(text, given.text() if given is not None else None)
    if prefix is None and text == "*":
        _anything(entry, name, model)
        return None
    if prefix is None and params.get("api_base", "base_url") is None and "/" in text:
        entry.dropped(f"Freehold knows no provider {shown(text.partition('/')[0])}, and there is no api_base")
        return None
    prefix = prefix or ("openai" if params.get("api_base", "base_url") is None else "custom_openai")
    target_ok = "*" in vendor_model or usable(f"provider/{vendor_model}")
    if not target_ok or not vendor_model:
        entry.dropped("the provider's name of the model is not one that can be asked for here")
        return None
    provider = locate(entry, params, prefix, VENDORS[prefix], draft)
    if provider is None:
        return None
    if given is not None:
        given.mapped(f"providers.{provider}")
    if "*" in vendor_model or "*" in (name.text() or ""):
        _wildcard(name, model, vendor_model, provider)
        facts_to, member = "", None
    else:
        target = f"{provider}/{vendor_model}"
        if route:
            model.approximated(target, f"without {route}/: the API is chosen by what the client speaks")
        elif provider in draft.bare:
            title = draft.bare[provider]
            model.approximated(target, f"a further provider entry for {title}, without the prices built in for {title}")
        else:
            model.mapped(target)
        facts_to = f"providers.{provider}.models.{vendor_model}"
        member = Member(target, name, _or_zero(own.get("order")), _or_zero(own.get("weight")))
    _read_rest(entry, params, draft, provider, vendor_model if facts_to else "", facts_to)
    return member


def _credential(own: Value, credentials: dict[str, Value]) -> Value | None:
    """Returns the values of the credential that an entry names."""
    named = own.get("litellm_credential_name")
    if named is None:
        return None
    entry = credentials.get(named.text() or "")
    if entry is None:
        named.dropped("there is no such entry in credential_list")
        return None
    named.mapped("providers", "the credential's values are used as if they stood here")
    if (label := entry.get("credential_name")) is not None:
        label.mapped("providers", "its values stand with the providers that use them")
    return entry.get("credential_values")


def _anything(entry: Value, name: Value, model: Value) -> None:
    why = "every provider with a key in the environment is offered, asked for as provider/model"
    name.approximated("discover", why)
    model.approximated("discover", why)
    entry.dropped("it belongs to no provider")


def _wildcard(name: Value, model: Value, vendor_model: str, provider: str) -> None:
    """Says what a pattern became: any model of a provider can be asked for here, as provider/model only."""
    if vendor_model == "*":
        model.mapped(f"providers.{provider}", f"every model can be asked for as {provider}/NAME, listed or not")
    else:
        model.approximated(f"providers.{provider}", f"there are no patterns: any {provider}/NAME can be asked for")
    if name.text() == f"{provider}/*" and vendor_model == "*":
        name.mapped(f"providers.{provider}")
    else:
        name.approximated(f"providers.{provider}", f"there are no patterns: clients ask for {provider}/NAME")


def _read_rest(entry: Value, params: Params, draft: Draft, provider: str, model: str, to: str) -> None:
    """Reads everything of an entry but where it is and what it is called."""
    if model:
        facts = read_facts(entry, params.own, to)
        if facts:
            draft.providers[provider].setdefault("models", {}).setdefault(model, {}).update(facts)
    elif (info := entry.get("model_info")) is not None:
        info.dropped("a pattern has no facts of its own: declare them for each model")
    _timeouts(params, draft, provider)
    order, weight = params.own.get("order"), params.own.get("weight")
    if order is not None and model:
        order.mapped("models", "the place in the alias")
    if weight is not None and model:
        weight.approximated("models", "the larger weight stands first; requests are not spread")
    for holder in (params.own, params.credential):
        for field, value in holder.items() if holder is not None else ():
            if field != "model":
                value.dropped(known.why_dropped(field, known.PARAMS))
    for field, value in entry.items():
        if field not in ("model_name", "litellm_params", "model_info"):
            value.dropped(known.why_dropped(field, known.PARAMS))


def _or_zero(value: Value | None) -> float:
    return (value.number() or 0.0) if value is not None else 0.0


LIMITS = {
    "ttft_timeout": ("first_byte", "until the first byte, not the first token"),
    "timeout": ("first_byte", "there for one read, here until an attempt's answer begins; `total` limits the whole"),
    "request_timeout": ("first_byte", "there for one read, here until an attempt's answer begins"),
    "stream_idle_timeout": ("idle", "the longest silence in a stream, of events of any kind"),
    "stream_timeout": ("idle", "the longest silence in a stream; its beginning is limited by first_byte"),
}
"""LiteLLM's time limits, the more exact first: ours in Timeouts, and the difference."""


def read_limits(get: Callable[[str], Value | None], to: str, draft: Draft) -> dict[str, Any]:
    """Returns the Timeouts that LiteLLM's limits make, and settles those."""
    limits: dict[str, Any] = {}
    for name, (field, why) in LIMITS.items():
        value = get(name)
        if value is None:
            continue
        seconds = seconds_of(value, draft)
        if seconds is None:
            value.dropped("not a number of seconds between 0 and 86400")
        elif field in limits:
            value.dropped("another limit here says it more exactly")
        else:
            limits[field] = seconds
            value.approximated(f"{to}.{field}", why)
    return limits


def _timeouts(params: Params, draft: Draft, provider: str) -> None:
    """A deployment's limits become its provider's: the largest where its models differ."""
    limits = read_limits(lambda name: params.get(name), f"providers.{provider}.timeouts", draft)
    before = draft.providers[provider].get("timeouts", {})
    for field, seconds in limits.items():
        other = before.get(field)
        if isinstance(other, float | int) and not isinstance(seconds, str):
            limits[field] = max(seconds, other)
    if limits:
        draft.providers[provider]["timeouts"] = {**before, **limits}


def seconds_of(value: Value, draft: Draft) -> float | int | str | None:
    """Returns seconds, or a reference to a variable that holds them; None where it is neither."""
    if (value.text() or "").startswith("os.environ/"):
        return draft.reference(value, "a number of seconds")
    number = value.number()
    if number is None or not 0 < number <= 86400:
        return None
    return int(number) if number == int(number) else number


def _make_alias(group: str, members: list[Member], draft: Draft) -> None:
    """Gives a model_name its place: an alias, or nothing where it is the deployment's own name already."""
    ranked = sorted(members, key=lambda member: (member.order, -member.weight))
    targets = list(dict.fromkeys(member.target for member in ranked))
    head, slash, _ = group.partition("/")
    hidden = bool(slash) and head in {*draft.rows, *draft.providers, OWN}
    if hidden and targets == [group]:
        draft.called[group] = group
        _settle_names(members, group, "a deployment is asked for by this name anyway")
        return
    name, number = group, 2
    if hidden or not usable(group):
        name = wished = re.sub(r"[^A-Za-z0-9._:@+-]+", "-", group).strip("-._:@+")[:200] or "model"
        while name in draft.models:
            name, number = f"{wished}-{number}", number + 1
    draft.models[name] = targets
    draft.own_members[name] = list(targets)
    draft.called[group] = name
    _settle_names(members, f"models.{name}", _difference(group, name, hidden, ranked))


def _difference(group: str, name: str, hidden: bool, ranked: list[Member]) -> str:
    """Returns how an alias differs from LiteLLM's group, empty where it does not."""
    told = []
    if hidden:
        told.append(f"clients ask for {name}: with a slash the name would hide a provider's own deployment")
    elif name != group:
        told.append(f"clients ask for {name}: other characters are not allowed in a name")
    orders = [member.order for member in ranked]
    if len({member.target for member in ranked}) > 1 and len(set(orders)) < len(orders):
        told.append(SPREAD)
    return "; ".join(told)


def _settle_names(members: list[Member], to: str, why: str) -> None:
    for member in members:
        if why and to.startswith("models."):
            member.name.approximated(to, why)
        else:
            member.name.mapped(to, why)
