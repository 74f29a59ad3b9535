"""The settings of a Messages request, and what they forbid each other.

https://platform.claude.com/docs/en/build-with-claude/extended-thinking#important-considerations: thinking excludes
forced tools, prefilled answers, top_k and any temperature but 1, and needs room in max_tokens. Its form follows
`traits.thinking`: `budget` sends `budget_tokens`, `adaptive` sends `adaptive` with an effort; the table between them is
in `dialects/thinking.py`. Where a tool is forced, or the thoughts of a running tool loop were lost on the way, a budget
is given up and reported; adaptive thinking takes both (recorded: claude-opus-4-6, `tool_choice` any, status 200).

Each function adds to the request `body` and appends what it had to change to `losses`.
"""

from typing import Any

from freehold.dialects.conversation import Conversation, Losses, Reasoning, Thinking, ToolCall
from freehold.dialects.messages.blocks import signed_here
from freehold.dialects.messages.citations import DIALECT
from freehold.dialects.thinking import ANTHROPIC_EFFORT, BUDGETS, budget_of, effort_of
from freehold.dialects.traits import Traits
from freehold.dialects.turns import Side
from freehold.dialects.words import word

LEAST_BUDGET = 1024
USER_ID_LIMIT = 256

_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def write_limits(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    limit = conversation.max_tokens
    body["max_tokens"] = limit if limit is not None else traits.default_max_tokens
    stop = [text for text in conversation.stop if text.strip()]
    if len(stop) < len(conversation.stop) or len(stop) > traits.stop_max:
        losses.append(word(conversation.dialect, "stop"))
    if stop:
        body["stop_sequences"] = stop[: traits.stop_max]
    _write_user(conversation, body, losses)
    if conversation.service_tier is not None:
        if (tier := _TIERS.get(conversation.service_tier)) is not None:
            body["service_tier"] = tier
        else:
            losses.append("service_tier")


def _write_user(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    """OpenAI's `safety_identifier` is what `user_id` is here: a name for the end user that tells nobody who it is."""
    for name in ("user", "safety_identifier"):
        value = getattr(conversation, name)
        if value is None:
            continue
        if len(value) <= USER_ID_LIMIT and "metadata" not in body:
            body["metadata"] = {"user_id": value}
        elif body.get("metadata") != {"user_id": value}:
            losses.append(word(conversation.dialect, name))


def write_thinking(
    conversation: Conversation, body: dict[str, Any], sides: list[Side], losses: Losses, traits: Traits
) -> None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    name = word(conversation.dialect, "reasoning")
    if not reasoning.enabled or reasoning.effort == "none":
        if traits.thinking in ("budget", "adaptive") and traits.thinking_off:
            body["thinking"] = {"type": "disabled"}
        elif not traits.thinking_off:
            losses.append(name)
        return
    if traits.thinking not in ("budget", "adaptive"):
        losses.append(name)
        return
    if conversation.dialect == DIALECT and reasoning.budget is None and not reasoning.adaptive:
        _write_effort(reasoning, body)  # `output_config.effort` alone: the model's default thinking stays
        return
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if forced and traits.thinking == "budget":
        losses.append(name)
        return
    if traits.thinking == "adaptive":
        thinking: dict[str, Any] | None = {"type": "adaptive"}
        _write_effort(reasoning, body)
        if reasoning.budget is not None:
            losses.append(f"{name}.budget_tokens" if conversation.dialect == DIALECT else name)
    else:
        thinking = _budget(conversation, reasoning, body, sides, losses)
    if thinking is None:
        losses.append(name)
        return
    if reasoning.include is not None:
        thinking["display"] = "summarized" if reasoning.include else "omitted"
    body["thinking"] = thinking


def _write_effort(reasoning: Reasoning, body: dict[str, Any]) -> None:
    effort = effort_of(reasoning)
    if effort is not None:
        body.setdefault("output_config", {})["effort"] = ANTHROPIC_EFFORT[effort]


def _budget(
    conversation: Conversation, reasoning: Reasoning, body: dict[str, Any], sides: list[Side], losses: Losses
) -> dict[str, Any] | None:
    """A thinking budget inside max_tokens; None where there is no room, or the loop's own thoughts are missing.

    An effort word is a wish and is cut without a word; a budget the client named is cut with a report.
    """
    if _lost_thoughts(sides):
        return None
    wanted = budget_of(reasoning)
    budget = BUDGETS["medium"] if wanted is None else max(wanted, LEAST_BUDGET)
    limit = body["max_tokens"]
    if budget >= limit:
        if conversation.max_tokens is None:
            body["max_tokens"] = limit = budget + limit
        budget = min(budget, limit * 4 // 5)
        if budget < LEAST_BUDGET:
            return None
    if reasoning.budget is not None and budget != reasoning.budget:
        losses.append(f"{word(conversation.dialect, 'reasoning')}.budget_tokens")
    return {"type": "enabled", "budget_tokens": budget}


def _lost_thoughts(sides: list[Side]) -> bool:
    """Whether a tool loop is under way whose assistant turn has no signed thoughts to begin with.

    With a thinking budget the API insists on them: "Expected `thinking` or `redacted_thinking`, but found `tool_use`".
    """
    for side in reversed(sides):
        if side.role == "assistant":
            first = side.parts[0]
            signed = isinstance(first, Thinking) and (first.redacted is not None or signed_here(first.signature))
            return not signed and any(isinstance(part, ToolCall) for part in side.parts)
    return False


def write_sampling(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    temperature, top_p, top_k = conversation.temperature, conversation.top_p, conversation.top_k
    if temperature is not None:
        if temperature != 1 and (thinking or not traits.sampling):
            losses.append("temperature")
        else:
            limit = min(traits.temperature_max, 1.0)
            if temperature > limit:
                losses.append("temperature")
            body["temperature"] = min(temperature, limit)
    if top_p is not None and top_p != 1:
        # A model takes one of the two; and beside thinking only top_p from 0.95 to 1.
        clash = temperature is not None and conversation.dialect != DIALECT
        if clash or not traits.sampling or (thinking and top_p < 0.95):
            losses.append("top_p")
        else:
            body["top_p"] = top_p
    if top_k is not None:
        if thinking or not traits.sampling:
            losses.append("top_k")
        else:
            body["top_k"] = top_k


def write_unknown(conversation: Conversation, body: dict[str, Any]) -> None:
    if conversation.metadata:
        body["metadata"] = {**body.get("metadata", {}), **conversation.metadata}
    for name, value in conversation.unknown.items():
        head, _, tail = name.partition(".")
        if head == "tools":
            continue
        if tail:
            body[head] = {**body.get(head, {}), tail: value}
        else:
            body[name] = value


def report(conversation: Conversation, losses: Losses, own: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.n > 1:
        losses.append("n")
    for name in ("seed", "logit_bias", "top_logprobs"):
        if getattr(conversation, name) is not None:
            losses.append(name)
    for name in ("presence_penalty", "frequency_penalty", "logprobs"):
        if getattr(conversation, name):
            losses.append(name)
    losses += [f"messages.{index}.name" for index, turn in enumerate(conversation.turns) if turn.name is not None]
    if set(conversation.modalities or ()) - {"text"}:
        losses.append("modalities")
    for name in ("voice", "prompt_cache_key", "previous"):
        if getattr(conversation, name) is not None:
            losses.append(word(conversation.dialect, name))
    if conversation.verbosity not in (None, "medium"):
        losses.append("verbosity")
    if conversation.store:
        losses.append("store")
    if not own:
        if conversation.metadata:
            losses.append("metadata")
        losses += conversation.unknown
