"""What the gateway would see, worked out here: for `models` and `explain`, which must not start or call anything.

The catalog is built by the same code as the gateway's. What only a running gateway knows (engine states, rates, servers
found on this machine) comes from the files it publishes under FREEHOLD_HOME/run; when none runs, rates come from the
price data and owned engines are assumed to start. `assumed` says so in words, for the person who reads the result.
"""

import os
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from freehold.admit.keys import Principal, principal_of, read_keys
from freehold.call.providers import Endpoint, load_config, resolve, with_credentials
from freehold.cli.client import Running, configuration, running
from freehold.config.checks_labels import key_trouble
from freehold.config.load import Loaded
from freehold.decide import Catalog, Deployment
from freehold.errors import ConfigError, NotFound
from freehold.home import keys_file, run_dir
from freehold.own.catalog import engine_specs, reasons, unpulled
from freehold.own.weights.types import shown
from freehold.serve.catalog import OWN, build_catalog
from freehold.serve.published import Engine, Engines, Local, Published, Rate, Rates
from freehold.serve.rehearsal import worked_out
from freehold.serve.rulebook import Rulebook


class View(Struct, dict=True):
    loaded: Loaded
    endpoints: dict[str, Endpoint]
    catalog: Catalog
    engines: dict[str, Engine]
    gateway: Running | None
    """The one that runs from this FREEHOLD_HOME."""
    price_date: str
    """ISO date of the price data, empty where none was read."""
    assumed: list[str]
    absent: dict[str, str] = {}
    """Why configured owned models cannot be served, by name, as far as the files of this machine say."""

    def health(self, deployment: Deployment) -> str | None:
        """Why a deployment cannot be called right now, None when it can, as far as that shows without calling it."""
        if deployment.provider != OWN:
            endpoint = self.endpoints.get(deployment.provider)
            if endpoint is None:
                return "its provider is not configured"
            return f"{endpoint.unavailable} ({endpoint.fix})" if endpoint.unavailable is not None else None
        if self.gateway is None:
            return self.absent.get(deployment.model)
        engine = self.engines.get(deployment.model)
        if engine is not None and engine.state == "pulling":
            return engine.error or "its weights are being pulled"
        if engine is not None and engine.state == "failed":
            return "its engine has failed" + (f": {engine.error}" if engine.error else "")
        return None

    @cached_property
    def rulebook(self) -> Rulebook:
        """Raises ConfigError for a predictor that cannot be read."""
        return Rulebook(self.loaded, self.catalog, self.endpoints)

    def principal(self, name: str | None) -> Principal:
        """The key called `name`, None: one without limits. Raises NotFound."""
        if name is None:
            return Principal("nobody")
        config = self.loaded.config
        for key in (*config.keys, *read_keys(keys_file())):
            if key.name == name:
                return principal_of(key, key_trouble(config, key))
        raise NotFound(f"there is no key named {name!r}", hint="freehold keys list", param="--key")

    def state(self, deployment: Deployment) -> str:
        trouble = self.health(deployment)
        if trouble is None and deployment.provider == OWN and self.gateway is None:
            return "not started"
        engine = self.engines.get(deployment.model) if deployment.provider == OWN else None
        return trouble or (engine.state if engine is not None else "ready")


def look(config: Path | None = None) -> View:
    """Builds the view from --config, the running gateway's file, or the usual places. Raises ConfigError."""
    gateway = running()
    loaded = load_config(configuration(config), os.environ)
    folder = run_dir()
    engines: dict[str, Engine] = Published(folder / "engines.json", Engines).value if gateway else {}
    local = Published(folder / "local.json", Local).value if gateway else Local()
    endpoints = resolve(loaded.config, os.environ, local=local.addresses)
    rates, date = _published(folder) if gateway else ({}, "")
    catalog = build_catalog(loaded, endpoints, engines, rates, local.models)
    assumed = []
    if gateway is None:
        rates, date = worked_out(loaded, endpoints, catalog)
        if rates:
            catalog = build_catalog(loaded, endpoints, engines, rates, local.models)
        assumed = _assumptions(catalog)
    absent = _absent(loaded) if gateway is None else {}
    return View(loaded, with_credentials(endpoints, os.environ), catalog, engines, gateway, date, assumed, absent)


def _absent(loaded: Loaded) -> dict[str, str]:
    broken: list[ConfigError] = []
    engine_specs(loaded.config, loaded.path, broken)
    waiting = {name: f"freehold up pulls it from {shown(text)}" for name, text in unpulled(loaded.config).items()}
    return waiting | reasons(loaded.config, broken)


def _published(folder: Path) -> tuple[dict[str, Rate], str]:
    published = Published(folder / "rates.json", Rates).value
    return published.rates, published.date


def _assumptions(catalog: Catalog) -> list[str]:
    assumed = []
    if any(d.provider == OWN for d in catalog.deployments.values()):
        assumed.append("no gateway runs here: owned models are taken as able to start")
    assumed.append("servers on this machine that are not configured were not looked for")
    return assumed
