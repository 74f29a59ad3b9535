"""A vocabulary as GGUF keeps it, and its keys."""

from typing import Any

from msgspec import Struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""tokenizer.ggml.token_type"""


ALWAYS, FIRST, NEVER = "always", "first", "never"
"""Where a tokenizer puts a space: before each piece of text between special tokens, before the whole text, nowhere."""
PREFIX_KEY = "freehold.tokenizer.space_prefix"
"""Our own key, `first` where llama.cpp leaves out the space that belongs before a whole text. A conversation begins
with a special token, so it is right without; a bare text is right when a space is sent before it."""


class Vocabulary(Struct):
    """`tokens` by id (None: a hole, filled before it is written); `merges` for `gpt2`, `scores` else."""

    model: str
    tokens: list[str | None]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    pre: str = ""
    ids: dict[str, int] = {}
    add_bos: bool = False
    add_eos: bool = False
    prefix: str = ""
    """Where the tokenizer puts a space first: always, first (of the whole text) or never; empty where it cannot."""
    add_space_prefix: bool | None = None
    remove_extra_spaces: bool | None = None
    charsmap: bytes = b""
    template: str | None = None
    templates: dict[str, str] = {}
    notes: list[str] = []
    strips: bool = False
    """Whether added tokens swallow the spaces beside them."""

    def add_to(self, writer: Any) -> None:
        """Adds the keys to a gguf.GGUFWriter."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre or "default")
        writer.add_token_list([text or "" for text in self.tokens])
        writer.add_token_types(self.types)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        for key, place in self.ids.items():
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", place)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.prefix == FIRST and not self.add_space_prefix:
            writer.add_string(PREFIX_KEY, FIRST)
        if self.remove_extra_spaces is not None:
            writer.add_remove_extra_whitespaces(self.remove_extra_spaces)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        if self.template:
            writer.add_chat_template(self.template)
        for name, text in self.templates.items():
            writer.add_string(f"tokenizer.chat_template.{name}", text)
        if self.templates:
            writer.add_array("tokenizer.chat_templates", sorted(self.templates))
