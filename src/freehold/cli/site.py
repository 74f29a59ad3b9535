"""What the checks of `doctor` look at, read once, and the form of what they find."""

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal

from msgspec import Struct

from freehold.call.providers import Endpoint, load_config, resolve, with_credentials
from freehold.cli import client
from freehold.config.load import Loaded
from freehold.config.schema import Config
from freehold.errors import ConfigError
from freehold.own.engine import EngineSpec, Gpu
from freehold.serve.rehearsal import rehearse

Verdict = Literal["ok", "warn", "fail"]
"""warn: works, but will not for long or not well. fail: something that was asked for cannot work."""


class Finding(Struct, frozen=True):
    """`fix` is the exact thing to do or type, None where all is well."""

    check: str
    verdict: Verdict
    found: str
    fix: str | None = None


class Site:
    """This installation: its configuration, its gateway if one runs, its providers."""

    def __init__(self, config: Path | None) -> None:
        self._config = config

    @cached_property
    def path(self) -> Path | None:
        return client.configuration(self._config)

    @cached_property
    def _read(self) -> Loaded | ConfigError:
        try:
            loaded = load_config(self.path, os.environ)
            rehearse(loaded)
        except ConfigError as error:
            return error
        return loaded

    @property
    def loaded(self) -> Loaded:
        """The configuration, or all defaults where it has mistakes: other checks go on."""
        return self._read if isinstance(self._read, Loaded) else load_config(None, os.environ)

    @property
    def mistakes(self) -> ConfigError | None:
        return self._read if isinstance(self._read, ConfigError) else None

    @property
    def config(self) -> Config:
        return self.loaded.config

    @cached_property
    def endpoints(self) -> dict[str, Endpoint]:
        return with_credentials(resolve(self.config, os.environ), os.environ)

    @cached_property
    def owned(self) -> tuple[list[EngineSpec], list[ConfigError]]:
        """The owned models, configured and pulled, and what is wrong with those that are not among them."""
        from freehold.own.catalog import engine_specs

        broken: list[ConfigError] = []
        try:
            return engine_specs(self.config, self.loaded.path, broken, self.loaded.sources), broken
        except ConfigError as error:
            return [], [error]

    @cached_property
    def gpus(self) -> tuple[Gpu, ...]:
        from freehold.own.gpu import gpus

        return gpus()

    @cached_property
    def gateway(self) -> client.Running | None:
        return client.running()


Check = Callable[[Site], list[Finding]]
