"""What a family of models is to the converter: a row of data, and a function only where the architecture needs one.

A family names the architectures of config.json it takes, llama.cpp's name for them, the shape of every tensor, and what
differs from the common case: keys, renamed or stacked tensors, changes of the numbers.

Shapes are words: `attn_q.weight: "q embd"` is a matrix of q rows. The words stand in `dimensions`; the common ones are

    vocab embd ffn heads q k v out head       q = heads x head, k = v = key-value heads x head, out = q
    experts expert_ffn shared_ffn rotary      rotary = half the rotated elements of a head

A name that ends in `?` may be missing. Names are those of GGUF, without `blk.N.`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from freehold.errors import EngineError
from freehold.own.convert.checkpoint import Checkpoint
from freehold.own.convert.config import Config
from freehold.own.convert.problems import refuse, unsupported


class Change(Struct, frozen=True):
    """A change of one tensor on its way. `numbers`: it computes, so it gets and gives float32; otherwise it only moves
    elements and gets them as they are stored (bf16 as uint16)."""

    apply: Callable[["Model", Any], Any]
    numbers: bool = False


class Rule(Struct, frozen=True):
    """A source name that the gguf package's own table of names does not know, or that has to be stacked or split.

    `source` may hold {l} (layer) and {e} (expert): the tensors of all experts become one, in order. Several rules may
    share a source: each takes its part with `change`. `also` names more sources of the same tensor; `change` then gets
    the list of all arrays. `kind` is set where `change` gives the finished bytes of that GGUF type (uint8).
    """

    source: str
    to: str
    change: Change | None = None
    also: tuple[str, ...] = ()
    kind: str | None = None


class Extra(Struct, frozen=True):
    """A tensor that no file holds, made from config.json, such as rope_freqs.weight. `values` is float32."""

    name: str
    values: Any


class Family(Struct, frozen=True):
    """One family. `arch` is llama.cpp's name, `title` what people call it (for the table of what is supported).

    `layer` gives the shapes of layer n; `extras` tensors made from the configuration; `metadata` what goes beyond or
    against the common keys (None takes a common key out); `check` refuses what llama.cpp cannot run (its errors get the
    code unsupported_architecture); `ignore` holds prefixes of source tensors that are left out knowingly.
    """

    name: str
    title: str
    arch: str
    architectures: tuple[str, ...]
    layer: Callable[["Model", int], Mapping[str, str]]
    outer: Mapping[str, str] = field(
        default_factory=lambda: {"token_embd.weight": "vocab embd", "output_norm.weight": "embd"}
    )
    metadata: Callable[["Model"], Mapping[str, Any]] = lambda model: {}
    dimensions: Callable[["Model"], Mapping[str, int]] = lambda model: {}
    rules: Callable[["Model"], Iterable[Rule]] = lambda model: ()
    changes: Mapping[str, Change] = {}
    extras: Callable[["Model"], Iterable[Extra]] = lambda model: ()
    check: Callable[["Model"], None] = lambda model: None
    ignore: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    """Prefixes of source names that are put right before anything else: (from, to)."""
    exact: frozenset[str] = frozenset()
    """Tensors that stay F32 whatever the type of the file; norms, biases and routers always do."""
    when: Callable[[Mapping[str, Any]], bool] = lambda config: True
    """Whether the family takes this config.json, beside the architecture it names."""
    tied: bool = False
    """What an absent `tie_word_embeddings` means."""


class Model:
    """One model on its way: its configuration, its tensors, its family, and the dimensions that shapes are told in."""

    def __init__(self, family: Family, config: Config, checkpoint: Checkpoint) -> None:
        self.family = family
        self.config = config
        self.checkpoint = checkpoint
        self.notes: list[str] = []
        """What a person should know about the result, in sentences."""
        head, heads, kv_heads = config.head, config.heads, config.kv_heads
        self.sizes: dict[str, int] = {
            "vocab": 0,
            "embd": config.width,
            "ffn": config.whole("intermediate_size", "ffn_hidden_size", "n_inner", default=4 * config.width),
            "heads": heads,
            "q": heads * head,
            "k": kv_heads * head,
            "v": kv_heads * head,
            "out": heads * head,
            "head": head,
            "experts": config.whole(
                "num_local_experts", "num_experts", "n_routed_experts", default=0, low=0, high=65_536
            ),
            "expert_ffn": config.whole("moe_intermediate_size", "intermediate_size", default=0, low=0),
            "shared_ffn": config.whole("shared_expert_intermediate_size", default=0, low=0),
            "rotary": max(1, int(head * config.rope().partial) // 2),
        }
        self.sizes.update(family.dimensions(self))
        try:
            family.check(self)
        except EngineError as error:
            raise unsupported(error.message) from None

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def shape(self, words: str) -> tuple[int, ...]:
        """Returns the shape that `words` tell: names of dimensions, or numbers."""
        found = []
        for word in words.split():
            size = int(word) if word.isdigit() else self.sizes[word]
            if size < 1:
                raise refuse(f"config.json does not tell the dimension {word} of this {self.family.title} model")
            found.append(size)
        return tuple(found)
