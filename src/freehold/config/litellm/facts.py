"""model_info (and prices in litellm_params) as what freehold.yaml declares of a model."""

from typing import Any

from freehold.config.litellm import known
from freehold.config.litellm.source import Value

_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
}
_CAN = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "tools",
    "supports_response_schema": "schema",
    "supports_vision": "images",
    "supports_audio_input": "audio",
    "supports_pdf_input": "documents",
}
_CHAT = ("tools", "schema", "images", "audio", "documents")
_ONLY = {
    "embedding": "embeddings",
    "completion": "completions",
    "rerank": "rerank",
    "moderation": "moderations",
    "image_generation": "image_generation",
    "audio_speech": "speech",
    "audio_transcription": "transcription",
}


def read_facts(entry: Value, params: Value, to: str) -> dict[str, Any]:
    """Returns the model's facts and settles every field of model_info. `to` is their place in freehold.yaml."""
    info = entry.get("model_info")
    facts: dict[str, Any] = {}
    for holder in (info, params):
        for name, field in _PRICES.items():
            value = holder.get(name) if holder is not None else None
            if value is not None:
                _price(value, field, facts, to)
    if info is None:
        return facts
    _sizes(info, facts, to)
    _abilities(info, facts, to)
    base = info.get("base_model")
    if base is not None:
        base.dropped("prices go by the model's own name; where that has none, declare input and output prices")
    for name, value in info.items():
        value.dropped(known.why_dropped(name, known.INFO, known.PARAMS))
    return facts


def _price(value: Value, field: str, facts: dict[str, Any], to: str) -> None:
    number = value.number()
    if number is None or number < 0:
        value.dropped("not a price in US dollars per token")
        return
    facts[field] = _plain(round(number * 1e6, 9))
    value.mapped(f"{to}.{field}", "US dollars per million tokens instead of per token")


def _sizes(info: Value, facts: dict[str, Any], to: str) -> None:
    context, output, either = (info.get(n) for n in ("max_input_tokens", "max_output_tokens", "max_tokens"))
    if context is not None and (size := _size(context)):
        facts["context"] = size
        context.approximated(f"{to}.context", "there the prompt alone, here prompt and answer together")
    if output is not None and (size := _size(output)):
        facts["max_output"] = size
        output.mapped(f"{to}.max_output")
    if either is not None and (size := _size(either)):
        if "max_output" in facts:
            either.dropped("max_output_tokens says it already")
        else:
            facts["max_output"] = size
            either.approximated(f"{to}.max_output", "LiteLLM's older name; taken for the longest answer")


def _size(value: Value) -> int | None:
    """Returns a number of tokens; settles the value where it is none."""
    number = value.number()
    if number is None or number < 1 or number > 1e12:
        value.dropped("not a number of tokens")
        return None
    return int(number)


def _abilities(info: Value, facts: dict[str, Any], to: str) -> None:
    """A model that declares nothing is assumed to do everything: a list is needed only where it lacks something."""
    mode = info.get("mode")
    kind = mode.text() if mode is not None else None
    lacking = set()
    for name, ability in _CAN.items():
        value = info.get(name)
        flag = value.flag() if value is not None else None
        if value is None:
            continue
        if flag is None:
            value.dropped("neither true nor false")
        elif flag:
            value.mapped(f"{to}.can", "assumed of every model that declares nothing else")
        else:
            if name != "supports_parallel_function_calling":
                lacking.add(ability)
            value.mapped(f"{to}.can")
    if kind in _ONLY:
        facts["can"] = [_ONLY[kind]]
    elif lacking:
        facts["can"] = [ability for ability in _CHAT if ability not in lacking]
    if mode is None:
        return
    if kind in _ONLY:
        mode.mapped(f"{to}.can")
    elif kind == "chat":
        mode.mapped(f"{to}.can", "assumed of every model that declares nothing else")
    elif kind == "responses":
        mode.approximated(f"{to}.can", "the API is chosen by what the client and the provider speak")
    else:
        mode.dropped("freehold.yaml has no capability for this: the model is offered for every operation")


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number
