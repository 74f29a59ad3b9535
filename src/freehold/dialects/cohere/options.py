"""Writes the settings of a Cohere chat request, and reports those it has no word for.

Ranges from https://docs.cohere.com/reference/chat: `p` 0.01 to 0.99, `k` 0 to 500, penalties 0 to 1, at most five stop
sequences (a trait), thinking within the room for the answer. A value of another dialect beyond them is set to the
nearest one and reported; a request of this dialect is left as it is.
"""

from typing import Any

from freehold.dialects.cohere.blocks import report
from freehold.dialects.cohere.content import DIALECT
from freehold.dialects.conversation import Conversation, Losses, ToolResult
from freehold.dialects.thinking import BUDGETS, budget_of
from freehold.dialects.traits import Traits
from freehold.dialects.words import word

_SAMPLING: dict[str, tuple[str, float, float, float]] = {
    "temperature": ("temperature", 0.0, 2.0, 1.0),
    "top_p": ("p", 0.01, 0.99, 1.0),
    "top_k": ("k", 0, 500, 0),
    "frequency_penalty": ("frequency_penalty", 0.0, 1.0, 0.0),
    "presence_penalty": ("presence_penalty", 0.0, 1.0, 0.0),
}
"""Field, least, most, and the value that asks for nothing, in other dialects' eyes."""


def write_options(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    if conversation.max_tokens is not None:
        body["max_tokens"] = conversation.max_tokens
    own = conversation.dialect == DIALECT
    stop = conversation.stop if own else [text for text in conversation.stop if text]
    if len(stop) < len(conversation.stop) or len(stop) > traits.stop_max:
        report(losses, word(conversation.dialect, "stop"))
    if stop[: traits.stop_max]:
        body["stop_sequences"] = stop[: traits.stop_max]
    _write_sampling(conversation, body, losses, traits)
    if conversation.seed is not None:
        body["seed"] = conversation.seed
    if conversation.logprobs is not None and (own or conversation.logprobs):
        if traits.sampling:
            body["logprobs"] = conversation.logprobs
        else:
            report(losses, "logprobs")
    _write_thinking(conversation, body, losses, traits)


def _write_sampling(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    own = conversation.dialect == DIALECT
    for field, (name, least, most, neutral) in _SAMPLING.items():
        value = getattr(conversation, field)
        if value is None:
            continue
        said = word(conversation.dialect, field)
        if not traits.sampling or (not traits.penalties and field.endswith("penalty")):
            if value != neutral:
                report(losses, said)
            continue
        if not own:
            if field == "temperature":
                most = min(most, traits.temperature_max)
            kept = min(max(value, least), most)
            if kept != value and value != neutral:
                report(losses, said)
            value = kept
        body[name] = value


def _write_thinking(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    name = word(conversation.dialect, "reasoning")
    own = conversation.dialect == DIALECT
    off = not reasoning.enabled or reasoning.effort == "none"
    if not own and traits.thinking == "none":
        if not off:
            report(losses, name)
        return
    if off:
        if own or traits.thinking_off:
            body["thinking"] = {"type": "disabled"}
        else:
            report(losses, name)
        return
    thinking: dict[str, Any] = {"type": "enabled"}
    budget = reasoning.budget if own else budget_of(reasoning)
    if budget is not None and not own:
        budget = _fit(conversation, budget, losses, name)
    if budget is not None:
        thinking["token_budget"] = budget
    body["thinking"] = thinking


def _fit(conversation: Conversation, budget: int, losses: Losses, name: str) -> int:
    """An effort word is a wish and is cut without a word; a budget the client named is cut with a report."""
    asked = conversation.reasoning.budget if conversation.reasoning is not None else None
    kept = max(budget, BUDGETS["minimal"] if asked is None else 1)
    if conversation.max_tokens is not None and kept >= conversation.max_tokens:
        kept = max(conversation.max_tokens * 4 // 5, 1)
    if asked is not None and kept != asked:
        report(losses, f"{name}.budget_tokens")
    return kept


def report_rest(conversation: Conversation, losses: Losses, tools: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    dialect = conversation.dialect
    if conversation.n > 1:
        report(losses, "n")
    if conversation.logit_bias:
        report(losses, "logit_bias")
    if conversation.top_logprobs:
        report(losses, "top_logprobs")
    if conversation.parallel_tools is False and tools:
        report(losses, word(dialect, "parallel_tools"))
    for name in ("user", "metadata", "prompt_cache_key", "safety_identifier"):
        if getattr(conversation, name):
            report(losses, word(dialect, name))
    if conversation.verbosity not in (None, "medium"):
        report(losses, word(dialect, "verbosity"))
    if conversation.service_tier not in (None, "auto", "default", "standard_only"):
        report(losses, word(dialect, "service_tier"))
    if conversation.store:
        report(losses, "store")
    if conversation.voice is not None:
        report(losses, word(dialect, "voice"))
    if conversation.modalities is not None and set(conversation.modalities) - {"text"}:
        report(losses, word(dialect, "modalities"))
    if conversation.previous is not None:
        report(losses, word(dialect, "previous"))
    for index, turn in enumerate(conversation.turns):
        if turn.name is not None:
            report(losses, f"messages.{index}.name")
    if _has_breakpoint(conversation):
        report(losses, "cache_control")
    if dialect != DIALECT:
        for name in conversation.unknown:
            report(losses, name)


def _has_breakpoint(conversation: Conversation) -> bool:
    parts = [*conversation.system, *(part for turn in conversation.turns for part in turn.parts)]
    parts += [inner for part in parts if isinstance(part, ToolResult) for inner in part.parts]
    return any(getattr(holder, "cache", None) is not None for holder in [*parts, *conversation.tools])
