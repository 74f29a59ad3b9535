"""YAML as people like to read it: keys in our order, blocks rather than braces, texts of several lines as such."""

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _string)


def documents(values: list[dict[str, Any]], comments: list[str]) -> str:
    """Returns several documents as one text, after `comments`, each a line of text."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comments)
    return head + "---\n".join(dump(value) for value in values)


def dump(value: Any) -> str:
    """Returns one value as YAML."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
