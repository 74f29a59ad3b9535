"""A LiteLLM proxy configuration as freehold.yaml, with an account of every field.

    bytes -> source.read      a tree in which each value knows its place (and included files are joined)
          -> deployments      model_list: providers, deployments, aliases
          -> settings         all other sections
          -> Imported         the configuration, its text, and one finding for every leaf of the source

Pure: no file is read but through `include`, no variable is looked up, and nothing that the source names is run.
No secret is copied: `os.environ/NAME` becomes `${NAME}`, and a literal one a variable that has to be set.
The reference for the source: https://docs.litellm.ai/docs/proxy/config_settings (October 2026).
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from freehold.config.litellm import known
from freehold.config.litellm.deployments import read_models
from freehold.config.litellm.draft import Builtin, Draft, Variable
from freehold.config.litellm.settings import read_settings
from freehold.config.litellm.source import Finding, Value, read
from freehold.config.litellm.write import to_yaml
from freehold.config.problems import file_error

__all__ = ["Builtin", "Finding", "Imported", "Variable", "convert"]

_OWN_SECTIONS = {
    "model_list",
    "litellm_settings",
    "router_settings",
    "general_settings",
    "environment_variables",
    "credential_list",
    "include",
}
_ORDER = ("server", "providers", "models", "keys", "timeouts", "retries", "breaker", "strict")


class Imported(Struct):
    """`config` as freehold.yaml has it, and `text`, the file. `findings` in the order of the source."""

    config: dict[str, Any]
    text: str
    findings: list[Finding]
    variables: list[Variable]
    """What has to be set in the environment before the file can be used."""


def convert(
    data: bytes,
    file: str = "config.yaml",
    *,
    providers: Mapping[str, Builtin],
    include: Callable[[str], bytes] | None = None,
) -> Imported:
    """Returns what a LiteLLM configuration is here.

    `providers` are those built in (`call.providers.rows()`); `include` returns the content of a file that the source
    includes. Raises ConfigErrors, with file and line, for what is no YAML or no LiteLLM configuration.
    """
    root = read(data, file, include)
    _recognise(root, file)
    draft = Draft(providers, reserved=_referenced(root))
    for leaf in root.leaves():
        if leaf.content is None:
            leaf.dropped("empty")
    read_models(root, draft)
    read_settings(root, draft)
    config = _assembled(draft)
    variables = list(draft.variables.values())
    findings = [leaf.finding for leaf in root.leaves() if leaf.finding is not None]
    return Imported(config, to_yaml(config, _head(file, variables)), findings, variables)


def _recognise(root: Value, file: str) -> None:
    """Raises ConfigErrors for a file that is something else."""
    names = set(root.content)
    if names & _OWN_SECTIONS:
        return
    hint = "a LiteLLM proxy configuration has model_list: at its beginning"
    if names & {"providers", "models", "own", "keys", "server"}:
        hint = "this looks like a freehold.yaml; freehold config check reads it"
    elif names & set(known.TOP):
        return
    raise file_error(file, "not a LiteLLM configuration: none of its sections is there", hint=hint)


def _referenced(root: Value) -> set[str]:
    """Returns the variables that the source names anywhere."""
    found = {name for name, _ in (root.get("environment_variables") or root).items()}
    for leaf in root.leaves():
        if isinstance(leaf.content, str) and leaf.content.startswith("os.environ/"):
            found.add(leaf.content.removeprefix("os.environ/").strip())
    return found


def _assembled(draft: Draft) -> dict[str, Any]:
    for variable in draft.variables.values():
        if variable.default is not None:
            for provider in draft.providers.values():
                if (url := provider.get("base_url")) is not None:
                    written = f"${{{variable.name}:-{variable.default}}}"
                    provider["base_url"] = url.replace(f"${{{variable.name}}}", written)
    found = {**draft.settings, "providers": draft.providers, "models": draft.models}
    return {name: found[name] for name in _ORDER if found.get(name) not in (None, {}, [])}


def _head(file: str, variables: list[Variable]) -> list[str]:
    lines = [f"From {file.rpartition('/')[2]} by freehold import litellm, which says what is different.", ""]
    lines += ["freehold config check   is it right?", "freehold up             start"]
    needed = [variable for variable in variables if variable.default is None]
    if needed:
        lines += ["", "Variables it needs:"]
        lines += [f"  {variable.name}: {variable.used_for}" for variable in needed]
    return lines
