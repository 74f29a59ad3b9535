"""Guard models: how each family is asked, and how its answer is read. Data and pure functions.

    llama_guard.py  Llama Guard 2, 3 and 4     `safe`, or `unsafe` and S1..S14
    qwen3guard.py   Qwen3Guard-Gen             `Safety: Unsafe` and `Categories: Violent`
    shieldgemma.py  ShieldGemma                Yes or No, once per policy
    safeguard.py    gpt-oss-safeguard          a written policy, and JSON
    prompt_guard.py Prompt Guard 2             no chat model: a score from an engine's classification route

A guard is a model like any other: the requests made here go to a deployment through the one egress client, under the
label of what they carry. An answer that cannot be read is `Verdict.failure`: flagged, never harmless.
"""

from collections.abc import Callable

from freehold.check.moderate.guards.asked import Guard
from freehold.check.moderate.guards.llama_guard import LLAMA_GUARD_2, LLAMA_GUARD_3, LLAMA_GUARD_4
from freehold.check.moderate.guards.qwen3guard import QWEN3GUARD
from freehold.check.moderate.guards.safeguard import SAFEGUARD
from freehold.check.moderate.guards.shieldgemma import SHIELDGEMMA

__all__ = ["GUARDS", "Guard", "find"]

GUARDS: dict[str, Guard] = {
    guard.name: guard for guard in (LLAMA_GUARD_2, LLAMA_GUARD_3, LLAMA_GUARD_4, QWEN3GUARD, SHIELDGEMMA, SAFEGUARD)
}
_SIGNS: tuple[tuple[Callable[[str], bool], Guard], ...] = (
    (lambda name: "llamaguard2" in name, LLAMA_GUARD_2),
    (lambda name: "llamaguard3" in name, LLAMA_GUARD_3),
    (lambda name: "llamaguard4" in name, LLAMA_GUARD_4),
    (lambda name: "qwen3guard" in name and "stream" not in name, QWEN3GUARD),
    (lambda name: "shieldgemma" in name and "shieldgemma2" not in name.replace("shieldgemma2b", ""), SHIELDGEMMA),
    (lambda name: "gptosssafeguard" in name, SAFEGUARD),
)


def find(model: str) -> Guard | None:
    """The family of a model by its name, whoever publishes or packs it: `meta-llama/Llama-Guard-3-8B`, `qwen3guard:4b`.

    None for what is no guard that chats. Qwen3Guard-Stream judges token by token inside the engine that generates, with
    remote code, and ShieldGemma 2 judges images: neither is asked this way.
    """
    name = "".join(character for character in model.rpartition("/")[2].lower() if character.isalnum())
    name = name.replace("metallamaguard", "llamaguard")
    return next((guard for is_it, guard in _SIGNS if is_it(name)), None)
