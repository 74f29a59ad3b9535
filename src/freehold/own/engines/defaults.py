"""What an adapter says where its engine takes no LoRA weights while it runs and cannot sleep."""

from freehold.own.engine import EngineSpec, Lora, Loras, Probe


class Defaults:
    """The part of `freehold.own.engine.Adapter` that most engines lack."""

    loras: Loras = "none"
    sleep_levels: tuple[int, ...] = ()

    def load_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        return None

    def unload_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        return None

    def sleep(self, level: int) -> tuple[Probe, ...]:
        return ()

    def wake(self, spec: EngineSpec, level: int) -> tuple[Probe, ...]:
        return ()
