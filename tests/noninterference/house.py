"""A gateway in front of the world: its configuration, its process, and a client that keeps what it is told."""

import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import yaml
from running import clean_environment
from sinks import LABELS, PROVIDERS, Sink, World

HOOKS = Path(__file__).with_name("hooks")
DIALECTS = ("chat", "responses", "messages", "gemini", "cohere", "mistral", "ollama", "converse", "voyage", "jina")
TALKING = DIALECTS[:8]
SPEAKS = {
    "embeddings": ("chat", "gemini", "cohere", "mistral", "ollama", "voyage", "jina"),
    "rerank": ("cohere", "voyage", "jina"),
    "moderations": ("chat", "mistral"),
    "media": ("chat",),
    "completions": ("chat",),
}
"""Which dialects have what besides conversations."""
FAULTS = (
    "status-401", "status-429", "status-500", "status-503", "status-529", "fault-cut_before_headers",
    "fault-cut_after_headers", "fault-cut_mid_event", "fault-reset_mid_stream", "fault-stall_before_headers",
    "fault-stall_mid_stream", "fault-bad_json_body", "fault-error_event", "fault-empty_body", "fault-html_502",
    "fault-redirect", "fault-bad_status_line", "fault-no_done", "fault-gzip_corrupt", "mirror-400", "mirror-429",
    "mirror-500", "moved",
)  # fmt: skip
"""How a provider that is cleared fails, in words of its model's name (freehold.fake, sinks.py)."""
OPEN = "fh-open-0123456789abcdef"
"""A key whose requests are public unless something raises them."""
PRIVATE = "fh-private-0123456789abcdef"
"""A key whose personal data are pseudonymised for whoever may not see them."""
ASKING = "fh-asking-0123456789abcdef"
"""A key about whose personal data a person is asked, who never answers."""


def key_of(label: str) -> str:
    return f"fh-floor-{LABELS.index(label)}-0123456789abcdef"


def provider(sink: Sink, dialect: str, base: str) -> dict[str, Any]:
    path = {"chat": "/v1", "responses": "/v1", "mistral": "/mistral", "voyage": "/voyage/v1", "jina": "/jina/v1"}
    given: dict[str, Any] = {
        "base_url": base + path.get(dialect, ""),
        "dialect": dialect,
        "api_key": "${SINK_KEY}",
        "models": {"fake": {"input": 0.01 if sink.name == "public" else 1.0, "output": 0.01, "context": 200000}},
    }
    if sink.owned:
        return given | {"owned": True} | ({"region": "us-east-1"} if dialect == "converse" else {})
    if "://127." in base:
        given["owned"] = False  # a server at such an address is one's own unless it is said not to be
    if dialect == "converse":
        given["region"] = "eu-central-1" if sink.regions else "us-east-1"
    elif sink.regions:
        given["region"] = "eu"
    if sink.name == "internal":
        return given
    return given | {"cleared": "+".join((sink.level, *sorted(sink.compartments or ()))), "policy": "contract"}


def configuration(bases: dict[str, str], folder: Path, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """freehold.yaml, as a mapping: every sink in every dialect, and every way to get from one to another."""
    providers = {
        f"{sink.name}-{dialect}": provider(sink, dialect, bases[sink.name])
        for sink in PROVIDERS
        for dialect in DIALECTS
    }
    models: dict[str, Any] = {}
    for kind, dialects in {"talk": TALKING, **SPEAKS}.items():
        models |= _ways(kind, dialects)
    engine = [sys.executable, str(Path(__file__).with_name("engine.py")), "${PORT}"]
    own = [
        {"name": "a", "engine": "command", "command": [*engine, str(folder / "engine-a")], "shadow": {"to": "own/b"}},
        {"name": "b", "engine": "command", "command": [*engine, str(folder / "engine-b")]},
    ]
    return {
        "server": {"port": 0, "drain_seconds": 5, "workers": 2},
        "box": False,
        "discover": False,
        "retries": 8,
        "learn": True,
        "breaker": {"failures": 100000, "volume": 100000},
        "early": {"seconds": 0.3, "bytes": 64},
        "timeouts": {"connect": 2, "first_byte": 0.7, "idle": 0.5, "total": 8},
        "labels": {"default": "public"},
        "checks": {
            "keys": {
                "private": {"request": {"personal": "pseudonymise"}},
                "asking": {"request": {"personal": "ask"}},
            },
            "ask": {"seconds": 1, "waiting": 10000},
        },
        "cache": {"enabled": True, "clearance": "confidential+phi", "exact": {"sampled": True, "tools": True}},
        "providers": providers,
        "models": models,
        "own": own,
        "keys": [
            {"name": "open", "key": OPEN, "label": "public"},
            {"name": "private", "key": PRIVATE, "label": "public"},
            {"name": "asking", "key": ASKING, "label": "public"},
            *({"name": f"floor-{n}", "key": key_of(label), "label": label} for n, label in enumerate(LABELS)),
        ],
        **(extra or {}),
    }  # fmt: skip


def _ways(kind: str, dialects: tuple[str, ...]) -> dict[str, Any]:
    """Aliases and routes over all sinks: who is cleared fails first, who is not stands ready."""
    made: dict[str, Any] = {}
    count = len(dialects)
    for turn, fault in enumerate(FAULTS):
        words = [dialects[(turn + step) % count] for step in range(8)]
        made[f"{kind}-{fault}"] = [
            f"owned-{words[0]}/fake-{fault}",
            f"full-{words[1]}/fake-{fault}",
            f"public-{words[2]}/fake",
            f"internal-{words[3]}/fake",
            f"phi-{words[4]}/fake-{fault}",
            f"confidential-{words[5]}/fake",
            f"eu-{words[6]}/fake",
            f"owned-{words[7]}/fake",
        ]
    for turn in range(count):
        among = [f"{sink.name}-{dialects[(turn + n) % count]}/fake" for n, sink in enumerate(PROVIDERS)]
        slow = [f"owned-{dialects[turn]}/fake-latency-150", f"full-{dialects[turn]}/fake-latency-150"]
        made[f"{kind}-cheapest-{turn}"] = {"among": among, "explore": {"share": 0.2, "quality": 1.0}}
        made[f"{kind}-hedged-{turn}"] = {
            "among": [*slow, *among],
            "pin": slow[0],
            "hedge": {"after": 0.02, "share": 1.0},
        }
        made[f"{kind}-split-{turn}"] = {"split": dict.fromkeys(among, 1), "sticky": "session"}
        made[f"{kind}-scheduled-{turn}"] = {"schedule": [{"use": among[0]}], "among": among}
        if kind == "talk":
            first = {"first": f"owned-{dialects[turn]}/fake", "samples": 2}
            cascade = {"checks": ["json", "complete", "agree"], **first}
            made[f"{kind}-cascade-{turn}"] = {"among": among, "cascade": cascade}
    return made


class Told(NamedTuple):
    status: int
    head: bytes
    body: bytes


class House:
    """A running gateway."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", url: str, *, strict: bool = False) -> None:
        self.folder = folder
        self.strict = strict
        self.home = folder / "home"
        self.process = process
        self.url = url
        self._local = threading.local()

    def ask(self, path: str, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST") -> Told:
        """Raises OSError or HTTPException where the connection breaks."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
            self._local.connection = connection
        try:
            connection.request(method, path, body if method == "POST" else None, headers or {})
            answer = connection.getresponse()
            head = b"\n".join(f"{name}: {value}".encode("latin-1") for name, value in answer.getheaders())
            return Told(answer.status, head, answer.read())
        except BaseException:
            connection.close()
            self._local.connection = None
            raise

    def killable(self) -> list[psutil.Process]:
        """Workers; in strict mode the egress process too. Of those that are there right now: a worker has connections,
        the steward has none. In strict mode clients' are of another namespace than it is; there the steward is the one
        who has children."""
        children = psutil.Process(self.process.pid).children()
        if not self.strict:
            return [one for one in children if one.net_connections(kind="tcp")]
        inside = [(one, below) for one in children if (below := one.children())]
        egress = [one for one in children if one not in [parent for parent, _ in inside]]
        return egress + [one for _, below in inside for one in below if not one.children()]

    def ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(self.url + "/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def write(self, configured: dict[str, Any]) -> None:
        (self.folder / "freehold.yaml").write_text(yaml.safe_dump(configured, sort_keys=False))


def _with_cores() -> None:
    """What a machine does on which cores are wanted: a test that leaves none must have seen to it itself."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


@contextmanager
def house(
    folder: Path, world: World, configured: dict[str, Any], mutant: str = "", *, strict: bool = False
) -> Iterator[House]:
    """Runs `freehold up` with `configured`, in strict mode where that is wanted. What it writes to its outputs is in
    `folder / "said"`."""
    for name in ("cwd", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    environment = clean_environment(
        FREEHOLD_HOME=str(folder / "home"),
        TMPDIR=str(folder / "tmp"),
        SSL_CERT_FILE=str(world.authority),
        PYTHONPATH=os.pathsep.join(filter(None, (str(HOOKS), os.environ.get("PYTHONPATH")))),
        PYTHONFAULTHANDLER="1",
        FREEHOLD_TEST_MUTANT=mutant,
        SINK_KEY="sk-0123456789",
    )
    said = (folder / "said").open("wb")
    house = House(folder, None, "", strict=strict)  # type: ignore[arg-type]
    house.write(configured)
    command = [sys.executable, "-m", "freehold", "up", "--json", "--config", str(folder / "freehold.yaml")]
    command += ["--strict-egress", "--no-witness"] if strict else []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=said, env=environment, cwd=folder / "cwd", preexec_fn=_with_cores
    )
    assert process.stdout is not None
    house.process = process
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(20)
            raise AssertionError("the gateway did not start:\n" + (folder / "said").read_text())
        house.url = json.loads(line)["url"]
        yield house
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
        process.stdout.close()
        said.close()
