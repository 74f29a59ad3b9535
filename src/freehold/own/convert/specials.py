"""Special tokens, what is put around a text, and the chat template: from the four files that may say so.

transformers stops at any of generation_config.json's `eos_token_id`; llama.cpp at eos, eot and eom, and at tokens with
well-known names. So the first of the list that the tokenizer names becomes eos, the next eot, the next eom.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from freehold.own.convert.config import Config, read_bytes, read_json
from freehold.own.convert.problems import refuse, unsupported

MAX_TEMPLATE = 1 << 20
ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "sep": "seperator", "mask": "mask"}
"""Role in tokenizer_config.json and its key, tokenizer.ggml.KEY_token_id (`seperator` is how GGUF spells it)."""
STOPS = ("eos", "eot", "eom")


class Specials(Struct):
    """`ids` by GGUF's key. `add_bos`, `add_eos`: None where no file says so."""

    ids: dict[str, int]
    add_bos: bool | None
    add_eos: bool | None
    template: str | None
    templates: dict[str, str]
    notes: list[str]
    clean_up: bool = False
    add_prefix_space: bool | None = None
    tokenizer_class: str = ""


def read(
    folder: Path, config: Config, tokens: Mapping[str, int], size: int, known: Mapping[str, int] | None = None
) -> Specials:
    """Reads what the files of `folder` say. `tokens` are the texts and ids of the vocabulary, `size` its length,
    `known` the ids that the vocabulary itself tells: they come before those of config.json, after names."""
    settings = read_json(folder / "tokenizer_config.json", 32 << 20) or {}
    named = {**(read_json(folder / "special_tokens_map.json") or {}), **settings}
    generation = read_json(folder / "generation_config.json") or {}
    notes: list[str] = []
    ids: dict[str, int] = dict(known or {})
    for role, key in ROLES.items():
        text = _text(named.get(f"{role}_token"))
        if text is not None and text in tokens:
            ids[key] = tokens[text]
            continue
        if text is not None:
            notes.append(f"the {role} token {text[:40]!r} is not in the vocabulary")
        if key in ids:
            continue
        for source in (generation, config.data, config.outer):
            value = source.get(f"{role}_token_id")
            first = value[0] if isinstance(value, list) and value else value
            if type(first) is int and 0 <= first < size:
                ids[key] = first
                break
    _stops(ids, generation, config, size, notes)
    template, templates = _templates(folder, settings)
    return Specials(
        ids=ids,
        add_bos=_flag(settings, "add_bos_token"),
        add_eos=_flag(settings, "add_eos_token"),
        template=template,
        templates=templates,
        notes=notes,
        clean_up=settings.get("clean_up_tokenization_spaces") is True,
        add_prefix_space=_flag(settings, "add_prefix_space"),
        tokenizer_class=str(settings.get("tokenizer_class") or "")[:100],
    )


def _stops(ids: dict[str, int], generation: Mapping[str, Any], config: Config, size: int, notes: list[str]) -> None:
    value = generation.get("eos_token_id", config.data.get("eos_token_id"))
    stops = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int and 0 <= one < size]
    ordered = list(dict.fromkeys([*([ids["eos"]] if "eos" in ids else []), *stops]))
    if len(ordered) > len(STOPS):
        notes.append(
            f"the model ends an answer with any of {len(ordered)} tokens, the file can name {len(STOPS)} of them"
        )
    ids.update(zip(STOPS, ordered, strict=False))


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _flag(settings: Mapping[str, Any], key: str) -> bool | None:
    value = settings.get(key)
    return value if isinstance(value, bool) else None


def around(post_processor: Any) -> tuple[str | None, str | None] | None:
    """Returns the tokens that a tokenizer.json puts before and after a text; None where it does not say."""
    if not isinstance(post_processor, dict):
        return None
    kind = post_processor.get("type")
    if kind == "Sequence":
        parts = post_processor.get("processors")
        found = [around(one) for one in parts] if isinstance(parts, list) else []
        return next((one for one in found if one is not None), None)
    if kind == "TemplateProcessing":
        single = post_processor.get("single")
        before: list[str] = []
        after: list[str] = []
        place = before
        for part in single if isinstance(single, list) else []:
            if isinstance(part, dict) and "Sequence" in part:
                place = after
            elif isinstance(part, dict) and isinstance(part.get("SpecialToken"), dict):
                place.append(str(part["SpecialToken"].get("id")))
        if len(before) > 1 or len(after) > 1:
            raise unsupported("tokenizer.json puts several tokens before or after a text, which llama.cpp cannot")
        return (before[0] if before else None), (after[0] if after else None)
    if kind in ("BertProcessing", "RobertaProcessing"):
        first, last = post_processor.get("cls"), post_processor.get("sep")
        return (first[0] if isinstance(first, list) else None), (last[0] if isinstance(last, list) else None)
    return None


def _templates(folder: Path, settings: Mapping[str, Any]) -> tuple[str | None, dict[str, str]]:
    """Returns the default chat template and the other named ones. A file of its own comes before the settings."""
    named: dict[str, str] = {}
    value = settings.get("chat_template")
    inside = read_json(folder / "chat_template.json")
    if inside is not None and inside.get("chat_template") is not None:
        value = inside["chat_template"]
    if isinstance(value, str):
        named["default"] = value
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("template"), str):
                named[one["name"]] = one["template"]
    elif isinstance(value, dict):
        named |= {key: text for key, text in value.items() if isinstance(text, str)}
    raw = read_bytes(folder / "chat_template.jinja", MAX_TEMPLATE)
    if raw is not None:
        named["default"] = _decoded("chat_template.jinja", raw)
    extra = folder / "additional_chat_templates"
    if extra.is_dir():
        for path in sorted(extra.glob("*.jinja"))[:20]:
            named[path.stem] = _decoded(path.name, read_bytes(path, MAX_TEMPLATE) or b"")
    for name, text in named.items():
        if len(text) > MAX_TEMPLATE:
            raise refuse(f"the chat template {name[:40]!r} has {len(text)} characters")
    default = named.pop("default", None)
    if default is None and len(named) == 1:
        default = named.popitem()[1]
    return default, {re.sub(r"\W", "_", name, flags=re.ASCII)[:40]: text for name, text in named.items()}


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise refuse(f"{name} is not UTF-8 text") from None
