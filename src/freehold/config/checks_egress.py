"""Rules of `server.egress` that types cannot say: what a gateway without a way out cannot have."""

from freehold.config.checks_own import ATTACHED, own_name
from freehold.config.problems import Problems
from freehold.config.schema import Config


def check_egress(config: Config, problems: Problems) -> None:
    """Notes what the file's own `server.egress` makes impossible."""
    mode = config.server.egress
    if mode == "none":
        for name in config.providers:
            problems.add(
                ("providers", name),
                "cannot be called: server.egress is none, so nothing leaves this machine",
                "take it out, or give --air-gapped on the command line instead, which leaves providers aside",
                key=True,
            )
    if mode != "open":
        for index, owned in enumerate(config.own):
            if owned.engine in ATTACHED:
                problems.add(("own", index, "engine"), *unreachable(own_name(owned), owned.engine))


def unreachable(name: str, engine: str | None) -> tuple[str, str]:
    """Returns why a server that somebody else runs cannot be an engine then, and what to do."""
    return (
        f"own/{name} is run by a server that is not started here ({engine}), and with server.egress strict or none "
        "engines run in a network namespace of their own",
        "in strict mode name that server under providers, with owned: true",
    )
