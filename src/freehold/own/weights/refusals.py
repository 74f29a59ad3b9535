"""Code that a repository brings to be run on this machine: found, and refused unless a person allowed it.

A repository may bring Python code, which config.json's `auto_map` tells transformers to run instead of its own. Where
every class in it is one that transformers has itself, under that model's own name (DeepSeek V3, Falcon and Phi-3 began
that way), the code is left behind and the built-in class used: nothing of it ever runs. Anything else needs a person's
`remote_code: true` for that model.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from freehold.errors import EngineError

BUILT_IN: dict[str, str] = {
    "llama": "Llama", "llama4": "Llama4", "llama4_text": "Llama4", "mistral": "Mistral", "mistral3": "Mistral3",
    "mixtral": "Mixtral", "qwen2": "Qwen2", "qwen2_moe": "Qwen2Moe", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe",
    "deepseek_v2": "DeepseekV2", "deepseek_v3": "DeepseekV3", "gemma": "Gemma", "gemma2": "Gemma2", "gemma3": "Gemma3",
    "gemma3_text": "Gemma3", "falcon": "Falcon", "cohere": "Cohere", "cohere2": "Cohere2", "gpt_oss": "GptOss",
    "phi": "Phi", "phi3": "Phi3", "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta",
}  # fmt: skip
"""model_type of config.json: how the names of its classes in transformers begin."""

_ENDINGS = re.compile(
    r"(?:Text)?(?:Config|Model|PreTrainedModel|Tokenizer(?:Fast)?|Processor|For(?:CausalLM|ConditionalGeneration|MaskedLM"
    r"|SequenceClassification|TokenClassification|QuestionAnswering))"
)
_CODE = re.compile(r"(?:modeling|modelling|configuration|tokenization|processing|image_processing)_\w+\.py")


def foreign_code(names: Iterable[str], configs: Mapping[str, Any]) -> list[str]:
    """Returns what would be run of a repository: `FILE.py (CLASS)`, empty where nothing would.

    `configs` holds its small JSON files that were read (config.json, tokenizer_config.json, ...), by name.
    """
    config = configs.get("config.json")
    model_type = config.get("model_type") if isinstance(config, dict) else None
    prefix = BUILT_IN.get(model_type) if isinstance(model_type, str) else None
    found: list[str] = []
    harmless: set[str] = set()
    for file in configs.values():
        auto_map = file.get("auto_map") if isinstance(file, dict) else None
        for target in _targets(auto_map):
            module, _, name = target.rpartition("--")[2].rpartition(".")
            if prefix is not None and name.startswith(prefix) and _ENDINGS.fullmatch(name[len(prefix) :]):
                harmless.add(f"{module}.py")
            else:
                found.append(f"{module or '?'}.py ({name})"[:120])
    unnamed = [name for name in names if _CODE.fullmatch(name) and name not in harmless]
    known = {one.partition(" ")[0] for one in found}
    return list(dict.fromkeys([*found, *(name for name in unnamed if name not in known)]))


def refuse_remote_code(
    what: str, names: Iterable[str], configs: Mapping[str, Any], *, allowed: bool, override: str = ""
) -> None:
    """Raises EngineError (remote_code_refused) when a repository needs code of its own and no person allowed it.

    `override` is the line to write, where it is not `remote_code: true` under the model in freehold.yaml.
    """
    code = foreign_code(names, configs)
    if code and not allowed:
        raise EngineError(
            f"{what} brings Python code to be run on this machine: {', '.join(code[:3])}",
            code="remote_code_refused",
            retry="no",
            hint=override or "read it; then write `remote_code: true` for this model under own: in freehold.yaml",
        )


def _targets(auto_map: Any) -> Iterable[str]:
    """Yields the class paths of an auto_map: values are strings, or lists of strings and nulls."""
    if auto_map is None or auto_map == {}:
        return
    if not isinstance(auto_map, dict):
        yield "?"
        return
    for value in auto_map.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one
            elif one is not None:
                yield "?"
