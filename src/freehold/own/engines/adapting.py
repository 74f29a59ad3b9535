"""What the adapters of vLLM and SGLang share: LoRA weights that come and go while the engine runs, and sleep.

Both load LoRA weights only where they were started for it, as they were trained, and with a rank at most the one they
were started with.
"""

import msgspec

from freehold.own.engine import EngineSpec, Lora, Loras, Probe
from freehold.own.engines.server import SLEEP, Server, rank_of


class Adapting(Server):
    """The contract's part on LoRA weights and sleep. `load_path` and `unload_path` are routes."""

    loras: Loras = "runtime"
    sleep_levels: tuple[int, ...] = (1, 2)
    load_path = ""
    unload_path = ""

    def rank(self, spec: EngineSpec) -> int:
        """Returns the highest rank of a model's LoRA weights. Raises EngineError for weights that are to be scaled."""
        for lora in spec.adapters:
            if lora.scale != 1.0:
                raise self.refuse(f"applies LoRA {lora.name} as it was trained: its scale must be 1")
        return max(rank_of(lora) for lora in spec.adapters)

    def load_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        if not spec.adapters or lora.scale != 1.0 or rank_of(lora) > max(rank_of(one) for one in spec.adapters):
            return None
        body = {"lora_name": lora.name, "lora_path": str(lora.path)}
        return Probe(self.load_path, msgspec.json.encode(body), timeout=SLEEP)

    def unload_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        if not spec.adapters:
            return None
        return Probe(self.unload_path, msgspec.json.encode({"lora_name": lora.name}), timeout=SLEEP)

    def sleep(self, level: int) -> tuple[Probe, ...]:
        return (self.asleep(level),) if level in self.sleep_levels else ()

    def asleep(self, level: int) -> Probe:
        """Returns the request that puts the engine to sleep at a level it has."""
        raise NotImplementedError
