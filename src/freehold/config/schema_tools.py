"""The parts of `checks:` that say what tools may be called with, and how personal data is replaced by placeholders.

A tool's call in an answer is a way out: the client carries it out, and with it whatever the model has put into it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

ToolAction = Literal["allow", "redact", "ask", "block"]
Pattern = Annotated[str, Meta(min_length=1, max_length=200)]


class ToolRule(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the arguments of a tool may hold."""

    hosts: list[Pattern] | None = None
    """Hosts to which URLs in its arguments may lead: `api.example.com`, or `*.example.com` for those below it."""
    inner: bool = True
    """Whether its arguments may name addresses that are not public: loopback, private networks, a cloud's metadata."""
    roots: list[Pattern] | None = None
    """Folders in which its paths must lie, such as `/srv/project`. A path is an argument that is called so (`path`,
    `file`, `dir` and names that end in them), or one that begins with `/`, `~`, `..` or `file:`."""
    shell: bool = True
    """Whether its arguments may hold characters that mean something to a shell, or begin with `-`."""
    longest: Annotated[int, Meta(ge=2)] | None = None
    """Characters that its arguments may have together."""
    action: ToolAction | None = None
    """What is done where a call breaks the rule; the general one where it is not given."""


class Tools(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which tools a model may call, and with what. In names `*` stands for anything: `mcp__*`; of several rules that
    fit a tool, all hold. A streamed call is held back until its arguments are whole, if something here is said of its
    tool."""

    action: ToolAction = "block"
    """What is done about a call that may not be: `block` ends the answer there, `redact` leaves a mark in the place of
    the argument, `ask` asks a person, `allow` only counts it. A call of a tool that is not allowed at all cannot be
    redacted, it is blocked then."""
    allow: list[Pattern] | None = None
    """With this given, no other tool may be called, nor offered to a model."""
    deny: list[Pattern] = field(default_factory=list)
    """Tools that may not be called, nor offered to a model."""
    rules: dict[Pattern, ToolRule] = field(default_factory=dict)
    """By name."""
    clearance: dict[Pattern, str] = field(default_factory=dict)
    """The most sensitive label that may go to a tool, by name, such as `{"crm_*": confidential}`. What is found above
    it in the arguments of a call is treated by `action`. Placeholders are replaced by what they stand for only in the
    arguments of tools that are cleared here for the whole request. Of several that fit, each must be cleared."""


class Pseudonyms(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How `pseudonymise` is done."""

    strict: bool = False
    """A placeholder in an answer that stands for nothing, because the model has made it up or garbled it, is an error.
    Otherwise the client sees it as it is."""
    reasoning: bool = False
    """Placeholders are replaced in a model's thoughts too. A signed thought loses its signature by that."""
    media: Literal["hold", "pass"] = "hold"
    """A request with pictures, sound or files keeps its label, because nobody can say what is in them. `pass`: they are
    left out of account."""
