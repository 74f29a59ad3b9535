"""What stands beside the messages or the prompt of an Ollama request: options, format, think, log probabilities.

Source: https://docs.ollama.com/openapi.yaml and the `ollama` SDK's types (0.6.3). Options without a canonical place
(`num_ctx`, `min_p`, `repeat_penalty`, `mirostat`, ...) stay in `Conversation.unknown` as `options.NAME`, other fields
(`keep_alive`, `truncate`, ...) by their own name.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Conversation, Losses, OutputFormat, Reasoning
from freehold.dialects.thinking import effort_of
from freehold.dialects.traits import Traits
from freehold.dialects.wire import check_bool, check_dict, check_int, check_list, check_number, check_str, refuse
from freehold.dialects.words import word

DIALECT = "ollama"
GENERATE = "ollama_generate"
OWN = frozenset({DIALECT, GENERATE})
"""The dialects whose options and settings are these."""

_INTEGERS = ("top_k", "seed")
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
"""The words `think` takes (`max` since Ollama 0.35) for the effort scale of `dialects/thinking.py`."""


# Reading


def read_settings(conversation: Conversation, fields: dict[str, Any]) -> None:
    """Takes the settings out of `fields`; what is left is unknown and kept. Raises BadRequest."""
    conversation.include_usage = True
    stream = fields.pop("stream", None)
    conversation.stream = True if stream is None else check_bool(stream, "stream")
    conversation.output = _read_format(fields.pop("format", None))
    conversation.reasoning = _read_think(fields.pop("think", None))
    if (logprobs := fields.pop("logprobs", None)) is not None:
        conversation.logprobs = check_bool(logprobs, "logprobs")
    if (top := fields.pop("top_logprobs", None)) is not None:
        conversation.top_logprobs = check_int(top, "top_logprobs")
    options = fields.pop("options", None)
    if options is not None:
        _read_options(conversation, check_dict(options, "options"))
    for name, value in fields.items():
        if value is not None:
            conversation.unknown[name] = value


def _read_format(raw: Any) -> OutputFormat | None:
    if raw is None or raw == "":
        return None
    if raw == "json":
        return OutputFormat("json")
    if not isinstance(raw, dict):
        refuse("format", '"json" or a JSON schema', raw)
    return OutputFormat("schema", schema=raw)


def _read_think(raw: Any) -> Reasoning | None:
    if raw is None:
        return None
    if isinstance(raw, bool):
        return Reasoning(enabled=raw)
    if raw not in ("low", "medium", "high", "max"):
        refuse("think", 'a boolean, "low", "medium", "high" or "max"', raw)
    return Reasoning(effort=raw)


def _read_options(conversation: Conversation, options: dict[str, Any]) -> None:
    for name, value in options.items():
        path = f"options.{name}"
        if value is None:
            continue
        if name in _NUMBERS:
            setattr(conversation, name, check_number(value, path))
        elif name in _INTEGERS:
            setattr(conversation, name, _integer(value, path))
        elif name == "num_predict":  # -1, -2 and 0 mean no limit, which is the absence of one
            limit = _integer(value, path)
            conversation.max_tokens = limit if limit > 0 else None
        elif name == "stop":
            stops = [value] if isinstance(value, str) else check_list(value, path)
            conversation.stop = [check_str(stop, f"{path}.{index}") for index, stop in enumerate(stops)]
        else:
            conversation.unknown[path] = value


def _integer(value: Any, path: str) -> int:
    """Go reads every JSON number as a float, so `40.0` is an integer to it."""
    return int(value) if isinstance(value, float) and value.is_integer() else check_int(value, path)


# Writing


def write_settings(
    conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits, tools: bool
) -> str | None:
    """Fills `body`; returns words for the system prompt where only they say the wanted format."""
    words = _write_format(conversation, body, losses, tools)
    _write_think(conversation, body, losses, traits)
    if conversation.logprobs:
        body["logprobs"] = True
        if conversation.top_logprobs:
            body["top_logprobs"] = conversation.top_logprobs
    options: dict[str, Any] = {}
    if conversation.max_tokens is not None:
        options["num_predict"] = conversation.max_tokens
    for name in (*_NUMBERS, *_INTEGERS):
        if (value := getattr(conversation, name)) is not None:
            options[name] = value
    stops = [stop for stop in conversation.stop if stop]
    if len(stops) < len(conversation.stop):
        lose(losses, word(conversation.dialect, "stop"))
    if stops:
        options["stop"] = stops
    if conversation.dialect in OWN:
        for name, value in conversation.unknown.items():
            if name.startswith("options."):
                options[name[len("options.") :]] = value
    if options:
        body["options"] = options
    return words


_JSON_WORDS = "Answer with one JSON object and nothing else: no explanation, no code fence."


def _write_format(conversation: Conversation, body: dict[str, Any], losses: Losses, tools: bool) -> str | None:
    """A format binds every token of the answer, so that no tool can be called; beside tools it is said in words.

    https://github.com/ollama/ollama/issues/11185, https://github.com/ollama/ollama/issues/13750
    """
    output = conversation.output
    if output is None or output.kind == "text":
        return None
    schema = output.schema if output.kind == "schema" else None
    if not tools:
        body["format"] = "json" if schema is None else schema
        return None
    lose(losses, word(conversation.dialect, "output"))
    if schema is None:
        return _JSON_WORDS
    text = msgspec.json.encode(schema).decode()
    return f"When no tool is needed any more: {_JSON_WORDS} It must match this JSON schema:\n{text}"


def _write_think(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    """Models that cannot think answer 400 to `think: true`, and those without levels answer 400 to a level."""
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    off = not reasoning.enabled or reasoning.effort == "none"
    if conversation.dialect in OWN:
        body["think"] = False if off else reasoning.effort or True
        return
    name = word(conversation.dialect, "reasoning")
    if off:
        body["think"] = False
        if not traits.thinking_off or traits.thinking == "effort":  # gpt-oss thinks, whatever it is told
            lose(losses, name)
        return
    if traits.thinking == "none":
        lose(losses, name)
        return
    effort = effort_of(reasoning)
    if traits.thinking == "effort":
        body["think"] = True if effort is None else _LEVELS[effort]
    else:
        body["think"] = True
        if reasoning.effort is not None:
            lose(losses, name)
    if reasoning.budget is not None:
        lose(losses, f"{name}.budget_tokens")


def report(conversation: Conversation, losses: Losses, tools: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.n > 1:
        lose(losses, "n")
    if conversation.parallel_tools is False and tools:
        lose(losses, word(conversation.dialect, "parallel_tools"))
    if conversation.modalities and set(conversation.modalities) != {"text"}:
        lose(losses, word(conversation.dialect, "modalities"))
    if conversation.service_tier not in (None, "auto", "default", "standard_only"):
        lose(losses, "service_tier")
    if conversation.verbosity not in (None, "medium"):
        lose(losses, word(conversation.dialect, "verbosity"))
    for name in ("logit_bias", "user", "metadata", "voice", "prompt_cache_key", "safety_identifier", "store"):
        if getattr(conversation, name):
            lose(losses, word(conversation.dialect, name))
    if conversation.dialect not in OWN:
        for name in conversation.unknown:
            lose(losses, name)


def lose(losses: Losses, name: str) -> None:
    if name not in losses:
        losses.append(name)
