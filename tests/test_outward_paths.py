"""Nothing leaves without being asked about: every way out in the code is declared here, with how it asks.

A new one fails here. Then: ask (`Rules.barred(label, Kind...)`; a deployment's targets are asked about in
`serve.outward.declassified`), write a receipt before the first byte (`serve.outward.outward`), and add a row. What the
rules mean stands in support/outward_paths.py. A row `Carries` is a promise that nothing of any request goes that way:
it wants a reason that a reader can check.
"""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from outward_paths import Asks, Carries, Module, Rule, Through, complaints, parsed

from freehold.labels import Kind

SOURCE = Path(__file__).parents[1] / "src" / "freehold"

OTHERS = {
    "engines": "engines of our own, on this machine, and the programs that run them",
    "gateway": "our own gateway or steward, spoken to by our own commands",
    "programs": "programs of this machine that are given no word of a request",
    "tokens": "credentials, to the endpoints that give tokens for them",
    "weights": "hubs that weights are pulled from: names of models, and a token of one's own",
    "probes": "servers on this machine's loopback address, asked what they are",
}
"""Where else a way may lead, besides the kinds of sinks that something of a request can reach."""

_POOL = "makes a pool, which opens nothing: who takes a connection out of it (`acquire`) is found by itself"
_OWN_PROGRAM = "runs our own interpreter on files"
_WEIGHTS = "asks for weights by the name that a person or the configuration gave"

DECLARED: Mapping[str, Rule] = {
    # requests
    "call/attempt.py::_attempt": Asks("deployments", ("begin",)),
    "serve/kept_paths.py::_ask": Asks("retention", ("may_flow",)),
    "serve/shared.py::Shared.__init__": Carries("deployments", "the type of a dictionary"),
    "serve/shared.py::Shared.pool": Carries("deployments", _POOL),
    "serve/gates.py": Carries("engines", _POOL),
    # URLs
    "call/fetch_url.py::_look_up": Through("fetch"),
    "call/fetch_url.py::system_resolver": Through("fetch"),
    "call/fetch_url.py::_exchange": Through("fetch"),
    "call/fetch_url.py::fetch_one": Through("fetch"),
    "call/fetch_url.py::fetch_url": Through("fetch"),
    "call/fetch_through.py::fetch_through": Through("fetch"),
    "call/inline.py::Noted.fetch": Asks("fetch", ("may",)),
    # the egress process of strict mode, which asks once more by its own reading of the configuration
    "egress/relay.py::Egress.__init__": Carries("deployments", "the type of a dictionary"),
    "egress/relay.py::Egress.way": Carries("deployments", _POOL),
    "egress/relay.py::Peer._open": Through("deployments"),
    "egress/relay.py::Peer._fetch": Through("fetch"),
    "egress/relay.py::Peer._request": Asks("deployments", ("permit", "fetch")),
    "egress/fetching.py::fetched": Through("fetch"),
    "egress/process.py::_written": Carries(
        "tokens", "wraps `fetch` for make_auth alone, and writes each exchange down"
    ),
    # tokens
    "serve/outward.py::Receipted.__call__": Carries("tokens", "wraps `fetch` for make_auth and the search for servers"),
    "call/clouds.py::make_auth": Carries("tokens", "a default; the worker gives one that writes receipts"),
    "call/auth/aws.py::aws_auth": Carries("tokens", "a default; credentials go out, and what they give comes back"),
    "call/auth/azure.py::azure_auth": Carries("tokens", "a default; credentials go out, and what they give comes back"),
    "call/auth/google.py::google_auth": Carries(
        "tokens", "a default; credentials go out, and what they give comes back"
    ),
    # our own engines
    "own/asking.py::send": Carries("engines", "probes and warm-up of an engine adapter: texts of our own"),
    "own/child.py::Child._start": Carries("engines", "launches an engine; requests reach it through call/attempt.py"),
    "own/engines/keeper.py": Carries("engines", "launches an engine under a keeper"),
    "own/measuring.py::run": Carries("engines", _POOL),
    "own/measuring.py::ask": Carries("engines", "prompts that freehold bench makes up"),
    "own/parity/original.py::_run": Carries("programs", "runs our own interpreter on weights and questions of our own"),
    "own/render/replica.py::Replica.__init__": Carries("engines", "the type of a field"),
    "own/render/replica.py::Replica.start": Carries("engines", _POOL),
    "own/render/replica.py::Replica._passed_on": Carries(
        "engines", "the engine in the same pod, behind a gateway that has asked: one deployment of its own there"
    ),
    "own/render/replica.py::_pulled": Carries("weights", "runs freehold pull"),
    "own/render/payload/fetch.py": Carries("weights", "in a pod: fetches files by URL and hash"),
    "own/render/payload/probe.py": Carries("engines", "in a pod: asks the engine beside it whether it is ready"),
    "own/gpu.py": Carries("programs", "nvidia-smi"),
    # weights
    "own/convert/child.py": Carries("programs", _OWN_PROGRAM),
    "own/convert/pretokenizers.py": Carries("programs", _OWN_PROGRAM),
    "own/weights/pickled.py": Carries("programs", _OWN_PROGRAM),
    "own/weights/download.py": Carries("weights", _WEIGHTS),
    "own/weights/hub.py": Carries("weights", _WEIGHTS),
    "own/weights/sources.py": Carries("weights", _WEIGHTS),
    "serve/pulls.py::Pulls._pull": Carries("weights", "runs freehold pull"),
    # this machine
    "serve/engines.py::EngineTable.follow": Carries(
        "gateway", "the steward's socket, a file: which engine may be asked"
    ),
    "serve/outer.py": Carries("weights", "runs freehold pull before a gateway without a way out begins"),
    "egress/namespace.py::_inside": Carries("programs", "the gateway itself, in a network namespace without a way out"),
    "egress/witness.py": Carries("programs", "nft, which counts what leaves"),
    # commands
    "cli/bench.py": Carries("programs", "runs freehold fake and freehold up"),
    "cli/launch.py::_start": Carries(
        "programs", "becomes the tool that a person has asked for, pointed at the gateway"
    ),
    "cli/client.py::_exchange": Carries("gateway", "what a person types, to the gateway"),
    "cli/feedback.py::_rate": Carries("gateway", "a rating, to the gateway"),
    "cli/load.py::run": Carries("gateway", _POOL),
    "cli/load.py::_once": Carries("gateway", "prompts that freehold bench makes up, to the gateway"),
    "cli/check_gateway.py::gateway": Carries("gateway", "is it ready?"),
    "cli/check_gateway.py::local_servers": Carries("probes", "GET /v1/models, a fixed request"),
}

SINKS = frozenset({*(kind.value for kind in Kind), *OTHERS})


@cache
def modules() -> list[Module]:
    """All but the transport, which is how things leave, and the fake provider, which only listens."""
    found = sorted(SOURCE.rglob("*.py"))
    names = [str(path.relative_to(SOURCE)) for path in found]
    return [
        parsed(name, path.read_text())
        for name, path in zip(names, found, strict=True)
        if not name.startswith(("call/transport/", "fake/"))
    ]


def test_every_way_out_is_declared_and_asks() -> None:
    wrong = complaints(modules(), DECLARED, SINKS)
    assert not wrong, "\n".join(wrong)


def test_whoever_writes_an_attempt_down_asks_first() -> None:
    """`_attempt` asks by `recorder.begin`: so every `begin` that there is must ask, or hand on to one that does."""
    found = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef) and node.name == "begin" and "target" in _arguments(node):
                called = _called(node)
                found.append(module.path)
                stub = all(isinstance(part, ast.Expr) for part in node.body)
                assert stub or called & {"declassified", "write"}, f"{module.path}:{node.lineno} asks nobody"
    assert sorted(found) == ["call/answer.py", "serve/recorder.py", "serve/recorder.py", "serve/shadow.py"]
    (recorder,) = [module for module in modules() if module.path == "serve/recorder.py"]
    (write,) = [node for node in ast.walk(recorder.tree) if isinstance(node, ast.FunctionDef) and node.name == "write"]
    asked = [
        node.lineno for node in ast.walk(write) if isinstance(node, ast.Call) and "declassified" in _names(node.func)
    ]
    intents = [node.lineno for node in ast.walk(write) if isinstance(node, ast.Call) and "Intent" in _names(node.func)]
    assert asked
    assert max(asked) < min(intents)


def _arguments(node: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in node.args.args}


def _called(node: ast.AST) -> set[str]:
    return {name for call in ast.walk(node) if isinstance(call, ast.Call) for name in _names(call.func)}


def _names(node: ast.expr) -> set[str]:
    return {node.attr} if isinstance(node, ast.Attribute) else {node.id} if isinstance(node, ast.Name) else set()


# The test of the test: what a newcomer might write, and what is said of it.

NEWCOMERS = {
    "a web hook": """
        import urllib.request
        def tell(url, text):
            urllib.request.urlopen(url, text)
    """,
    "a library": "import httpx\n",
    "a part of a library": "from opentelemetry.exporter import otlp\n",
    "a library loaded late": """
        import importlib
        def send(text):
            importlib.import_module("requests").post("https://logs.example", text)
    """,
    "our own client": """
        from freehold.call.transport import fetch
        async def tell(url, body):
            await fetch("POST", url, {}, body)
    """,
    "our own client by another name": """
        from freehold.call.transport.fetch import fetch as quietly
        async def tell(url, body):
            await quietly("POST", url, {}, body)
    """,
    "our own client through its module": """
        from freehold.call import transport
        async def tell(url, body):
            await transport.fetch("POST", url, {}, body)
    """,
    "a connection out of a pool": """
        class Exporter:
            async def send(self, flight, body):
                connection = await self._pool.acquire(flight)
                connection.send(flight, body)
    """,
    "a socket": """
        import socket
        def tell(host, text):
            with socket.socket() as one:
                one.connect((host, 80))
                one.send(text)
    """,
    "a datagram": """
        def tell(one, text):
            one.sendto(text, ("collector.example", 8125))
    """,
    "a stream": """
        import asyncio
        async def tell(text):
            _, writer = await asyncio.open_connection("collector.example", 80)
    """,
    "a name server": """
        import socket
        def tell(loop, text):
            return loop.run_in_executor(None, socket.getaddrinfo, text + ".collector.example", 80)
    """,
    "a shell": """
        import os
        def tell(text):
            os.system("curl -d " + text)
    """,
    "a program": """
        import asyncio
        async def tell(text):
            await asyncio.create_subprocess_exec("curl", "-d", text, "https://logs.example")
    """,
    "a default": """
        from freehold.call.transport import fetch
        def tell(body, send=fetch):
            return send("POST", "https://logs.example", {}, body)
    """,
    "a way that is declared to lead through its callers": """
        from freehold.call.fetch_url import fetch_url
        async def look(url, limits):
            return await fetch_url(url, limits=limits)
    """,
}


@pytest.mark.parametrize("text", NEWCOMERS.values(), ids=NEWCOMERS.keys())
def test_what_nobody_declared_is_found(text: str) -> None:
    module = parsed("serve/newcomer.py", dedent(text))
    wrong = [one for one in complaints([module], DECLARED, SINKS) if "newcomer" in one]
    assert wrong
    assert all("declare it in tests/test_outward_paths.py" in one for one in wrong)


ASKING = """
from freehold.call.transport import fetch
async def tell(rules, label, body):
    if rules.barred(label, "webhooks") is None:
        await fetch("POST", "https://hook.example", {}, body)
"""
LATE = """
from freehold.call.transport import fetch
async def tell(rules, label, body):
    await fetch("POST", "https://hook.example", {}, body)
    rules.barred(label, "webhooks")
"""


def test_a_question_must_be_asked_and_before() -> None:
    row = {"serve/hook.py::tell": Asks("webhooks", ("barred",))}
    assert complaints([parsed("serve/hook.py", ASKING)], row, SINKS) == []
    for text in (LATE, ASKING.replace('rules.barred(label, "webhooks") is None', "True")):
        (wrong,) = complaints([parsed("serve/hook.py", text)], row, SINKS)
        assert wrong.startswith("serve/hook.py::tell must ask (barred) before line ")


def test_a_row_of_what_is_gone_or_leads_nowhere_is_found() -> None:
    gone = {"serve/hook.py::tell": Carries("tokens", "nothing")}
    (wrong,) = complaints([parsed("serve/hook.py", "def tell(): ...\n")], gone, SINKS)
    assert "is no way out any more" in wrong
    (wrong,) = complaints([parsed("serve/hook.py", ASKING)], {"serve/hook.py::tell": Asks("hooks", ("barred",))}, SINKS)
    assert "'hooks', which is no kind of sink" in wrong


def test_a_reason_is_given_for_what_does_not_ask() -> None:
    for where, rule in DECLARED.items():
        if isinstance(rule, Carries):
            assert len(rule.why) > 8, where


def test_code_for_the_type_checker_and_lookalikes_are_nobodys_concern() -> None:
    text = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import httpx
    from freehold.call.transport import Pool
import sqlite3
from urllib.parse import urlsplit
def look(conversation, timeouts, lock, pool: "Pool"):
    sqlite3.connect("x")
    lock.acquire()
    return conversation.system, timeouts.connect, urlsplit
"""
    assert complaints([parsed("serve/quiet.py", text)], {}, SINKS) == []
