"""Air-gapped as it runs: a whole gateway in a namespace, and a witness that not one packet tried to leave."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spying
from apart import below, inside, needs_namespace, network
from faking import fake_here
from running import KEY, Running, clean_environment, started

from freehold.call.fetch_url import UrlLimits, fetch_url
from freehold.call.transport import Flight, Origin, Pool
from freehold.call.transport.pool import EGRESS
from freehold.errors import PolicyError

COMMAND = json.dumps([sys.executable, spying.__file__, "$${PORT}"])
CONFIG = f"""
server: {{port: 0, drain_seconds: 5}}
discover: false
providers:
  openai: {{base_url: "URL/v1", api_key: "sk-upstream-secret-000"}}
own:
  - {{name: plain, engine: command, command: {COMMAND}, facts: {{can: [images, documents]}}}}
  - {{name: away, pull: "Qwen/Qwen3-0.6B-GGUF:Q4_K_M"}}
models:
  both: [openai/gpt-4o, own/banking77]
keys:
  - {{name: ci, key: "{KEY}"}}
"""
FETCHED = {
    "model": "own/plain",
    "max_tokens": 5,
    "messages": [
        {
            "role": "user",
            "content": [{"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}],
        }
    ],
}
"""An engine has no URL for a document in its dialect, so that it is the gateway who would have to fetch this one. (Of
pictures it has: what it is given is the URL, and it is in the namespace too.)"""
WORDS = [{"role": "user", "content": "my card has not arrived"}]


def ask(gateway: Running, path: str = "/v1/chat/completions", **fields: Any) -> bytes:
    body = {"model": "own/banking77", **fields}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        data: bytes = answer.read()
    return data


def refused(gateway: Running, **fields: Any) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(gateway, **fields)
    said: str = json.loads(caught.value.read())["error"]["message"]
    return said


@contextlib.contextmanager
def apart(folder: Path, *arguments: str) -> Iterator[Running]:
    with fake_here() as fake:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.replace("URL", fake.url))
        with started("up", "--config", str(config), "--air-gapped", *arguments, home=folder / "home") as gateway:
            yield gateway
        assert not fake.served.rows


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with apart(tmp_path_factory.mktemp("apart")) as found:
        yield found


def sent(pid: int) -> dict[str, int]:
    """Packets that each network device of a namespace has sent."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return {name.strip(): int(rest.split()[9]) for name, _, rest in (line.partition(":") for line in lines)}


def discarded(pid: int) -> dict[str, int]:
    """Counters of packets that had no way to go: `OutNoRoutes` of IP, and what was dropped on the way out."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
        for head, values in zip(lines[::2], lines[1::2], strict=True):
            found |= dict(zip(head.split()[1:], map(int, values.split()[1:]), strict=True))
    return {name: found[name] for name in ("OutNoRoutes", "OutDiscards")}


@needs_namespace
class TestRunning:
    def test_all_of_it_is_in_one_namespace_and_nothing_is_outside(self, gateway: Running) -> None:
        outer = gateway.process.pid
        pids = list(below(outer))
        assert pids == inside(outer)
        assert len({network(pid) for pid in pids}) == 1

    def test_a_day_at_work_and_not_one_packet(self, gateway: Running) -> None:
        """Whole, streamed, embeddings that nobody serves, lists, a rented model, an image: no packet for elsewhere is
        ever made, because there is no device and no route to make one for."""
        pid = inside(gateway.process.pid)[0]
        assert b"card_arrival" in ask(gateway, messages=WORDS)
        assert ask(gateway, messages=WORDS, stream=True).rstrip().endswith(b"data: [DONE]")
        with contextlib.suppress(urllib.error.HTTPError):
            ask(gateway, "/v1/embeddings", input="hi")
        assert b"card_arrival" in ask(gateway, model="both", messages=WORDS)
        assert "air-gapped" in refused(gateway, model="openai/gpt-4o", messages=WORDS)
        assert ask(gateway, model="own/plain", messages=WORDS)
        picture = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
        assert ask(gateway, model="own/plain", messages=[{"role": "user", "content": picture}])
        said = refused(gateway, path="/v1/messages", **FETCHED)
        assert "example.org is not on this machine, and this gateway is air-gapped" in said
        assert set(sent(pid)) == {"lo"}
        assert discarded(pid) == {"OutNoRoutes": 0, "OutDiscards": 0}
        assert Path(f"/proc/{pid}/net/route").read_text().count("\n") == 1
        assert all(" lo" in line for line in Path(f"/proc/{pid}/net/ipv6_route").read_text().splitlines())

    def test_weights_are_not_pulled(self, gateway: Running) -> None:
        assert "air-gapped" in refused(gateway, model="own/away", messages=WORDS)

    def test_no_key_is_there(self, gateway: Running) -> None:
        for name in ("config.yaml", "config.inside.yaml"):
            assert b"sk-upstream-secret" not in (gateway.home / "run" / name).read_bytes()

    def test_there_is_no_egress_process(self, gateway: Running) -> None:
        assert not (gateway.home / "run" / "egress.sock").exists()


@needs_namespace
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"), reason="needs root, ip (iproute2) and nft"
)
def test_with_a_network_all_around_it_nothing_leaves(tmp_path: Path) -> None:
    """The whole `freehold up --air-gapped` runs in a namespace that has a network (a veth pair, a route to everywhere)
    and counters on its way out: they stay at zero, though a packet sent from there by hand is counted."""
    name, script = f"fh{os.getpid()}", tmp_path / "in.sh"
    script.write_text(
        f"""
set -e
ip link set lo up
ip link add {name} type veth peer name {name}p
ip addr add 192.0.2.1/24 dev {name}
ip link set {name} up
ip link set {name}p up
ip route add default via 192.0.2.2 dev {name}
ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev {name}
nft add table inet witness
nft add counter inet witness left
nft 'add chain inet witness out {{ type filter hook output priority 0; }}'
nft 'add rule inet witness out ip version 4 oifname != "lo" counter name left'
"$@" > {tmp_path}/up.out 2> {tmp_path}/up.err &
up=$!
for i in $(seq 300); do [ -s {tmp_path}/up.out ] && break; sleep 0.1; done
echo ready
read line
kill $up
wait $up
nft -j list counters table inet witness
{sys.executable} -c 'import socket; socket.socket(2, 2).sendto(b"x", ("198.51.100.1", 9))'
nft -j list counters table inet witness
"""
    )
    config = tmp_path / "freehold.yaml"
    config.write_text(CONFIG.replace("URL", "https://api.openai.com"))
    command = [
        "unshare", "-n", "sh", str(script), sys.executable, "-m", "freehold", "up", "--config", str(config),
        "--air-gapped", "--json",
    ]  # fmt: skip
    env = clean_environment(FREEHOLD_HOME=str(tmp_path / "home"))
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", (tmp_path / "up.err").read_text()
    url = json.loads((tmp_path / "up.out").read_text())["url"]
    # The port is in that namespace, so whoever asks must be there too.
    asked = subprocess.run(
        ["nsenter", "-t", str(process.pid), "-n", sys.executable, "-c", _ASK, url, KEY, json.dumps(FETCHED)],
        capture_output=True,
        text=True,
    )
    answers, _ = process.communicate("go\n", timeout=60)
    assert "card_arrival" in asked.stdout, asked.stderr
    assert "air-gapped" in asked.stdout
    assert "example.org is not on this machine" in asked.stdout.splitlines()[-1]
    before, after = (
        next(one["counter"]["packets"] for one in json.loads(line)["nftables"] if "counter" in one)
        for line in answers.splitlines()
    )
    assert (before, after) == (0, 1)


_ASK = """
import json, sys, urllib.error, urllib.request
said = [{"role": "user", "content": "my card has not arrived"}]
asked = [
    ("/v1/chat/completions", {"model": model, "stream": stream, "messages": said})
    for model in ("own/banking77", "openai/gpt-4o", "own/away") for stream in (False, True)
] + [("/v1/messages", json.loads(sys.argv[3]))]
for path, body in asked:
    request = urllib.request.Request(
        sys.argv[1] + path, json.dumps(body).encode(),
        {"authorization": "Bearer " + sys.argv[2], "content-type": "application/json"},
    )
    try:
        print(urllib.request.urlopen(request, timeout=30).read().decode())
    except urllib.error.HTTPError as error:
        print(error.read().decode())
"""


def test_without_a_namespace_it_says_so_and_refuses_by_itself(tmp_path: Path) -> None:
    with apart(tmp_path, "--no-namespace") as gateway:
        assert b"card_arrival" in ask(gateway, messages=WORDS)
        assert "air-gapped" in refused(gateway, model="openai/gpt-4o", messages=WORDS)
        assert "air-gapped" in refused(gateway, path="/v1/messages", **FETCHED)
    (log,) = tmp_path.glob("up-*.log")
    assert "nothing but itself holds it to that" in log.read_text()


def test_providers_in_a_file_that_says_none_are_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "freehold.yaml"
    config.write_text('server: {egress: none}\nproviders: {openai: {api_key: "sk-0123456789abcdef"}}\n')
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "config", "check", "--config", str(config)],
        capture_output=True, env=clean_environment(FREEHOLD_HOME=str(tmp_path / "home")),
    )  # fmt: skip
    assert done.returncode != 0
    assert b"freehold.yaml:2:13: providers.openai: cannot be called" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("mode", "host", "code"),
    [
        ("none", "192.0.2.1", "air_gapped"), ("none", "example.org", "air_gapped"), ("none", "10.0.0.1", "air_gapped"),
        ("strict", "192.0.2.1", "egress_refused"), ("none", "::ffff:192.0.2.1", "air_gapped"),
    ],
)  # fmt: skip
async def test_the_transport_refuses(monkeypatch: pytest.MonkeyPatch, mode: str, host: str, code: str) -> None:
    monkeypatch.setenv(EGRESS, mode)
    pool = Pool(Origin(False, host, 80, ""), connect_timeout=1.0, limit=1)
    with pytest.raises(PolicyError) as caught:
        await pool.acquire(Flight(0.0))
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.1", "::1"])
async def test_this_machine_is_no_elsewhere(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(EGRESS, "none")
    pool = Pool(Origin(False, host, 9, ""), connect_timeout=1.0, limit=1)
    with pytest.raises(Exception, match="no connection"):
        await pool.acquire(Flight(0.0))


async def test_no_name_server_is_asked_for_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"]

    monkeypatch.setenv(EGRESS, "none")
    with pytest.raises(PolicyError) as caught:
        await fetch_url("https://example.org/a.png", limits=UrlLimits(), resolver=resolver)
    assert (caught.value.code, caught.value.hint) == ("air_gapped", "send the data itself")
    assert not asked
