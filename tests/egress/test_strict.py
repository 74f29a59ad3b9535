"""Strict mode as it runs: real namespaces, a real egress process, the kernel's counters."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from apart import below, entered, inside, needs_namespace, needs_witness, network, tables
from faking import fake_here
from running import KEY, Running, clean_environment, started

from freehold.egress import kernel, namespace
from freehold.errors import ConfigError
from freehold.fake import FakeProvider

SECRET = "sk-upstream-secret-000"
HOUSE = "sk-key-of-the-house-0001"
NEXT = "sk-another-key-000002"
NEWER = "sk-newer-key-0003"
KEYS = {"UPSTREAM_KEY": SECRET, "HOUSE_KEY": HOUSE, "NEXT_KEY": NEXT, "NEWER_KEY": NEWER}


class World(NamedTuple):
    gateway: Running
    fake: FakeProvider
    config: Path

    @property
    def key(self) -> str:
        """The key that the fake was last asked with."""
        assert self.fake.served.last is not None
        return self.fake.served.last.headers.get(b"authorization", b"").decode()

    def ask(self, path: str = "/v1/chat/completions", **fields: Any) -> Any:
        return json.loads(self.raw(path, **fields))

    def raw(self, path: str = "/v1/chat/completions", **fields: Any) -> bytes:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **fields.pop("headers", {})}
        given = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields}
        body = {name: value for name, value in given.items() if value is not None}
        request = urllib.request.Request(self.gateway.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: bytes = answer.read()
        return data

    @property
    def pids(self) -> list[int]:
        """The processes inside."""
        return inside(self.gateway.process.pid)

    @property
    def egress(self) -> int:
        """The egress process."""
        outer = self.gateway.process.pid
        own = Path(f"/proc/{outer}").stat().st_uid
        while True:  # beside it there may be nft for a moment
            found = [pid for pid in below(outer) if network(pid) == network(outer)]
            with contextlib.suppress(OSError):
                ready = [pid for pid in found if Path(f"/proc/{pid}").stat().st_uid != own]
                if len(ready) == 1:
                    return ready[0]
            time.sleep(0.02)


def configured(url: str, extra: str = "") -> str:
    return f"""
server: {{port: 0, drain_seconds: 5}}
discover: false
timeouts: {{connect: 2, first_byte: 10, idle: 10, total: 30}}
providers:
  openai: {{base_url: "{url}/v1", api_key: "${{UPSTREAM_KEY}}"}}
  house: {{base_url: "{url}/v1", api_key: "${{HOUSE_KEY}}", owned: true}}
  pictures: {{base_url: "{url}", dialect: ollama, owned: true}}
keys:
  - {{name: ci, key: "{KEY}"}}
{extra}
"""


@contextlib.contextmanager
def strict(folder: Path, *arguments: str, extra: str = "", box: bool = False, **env: str) -> Iterator[World]:
    with fake_here() as fake:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "freehold.yaml"
        config.write_text(configured(fake.url, f"box: {str(box).lower()}\n{extra}"))
        with started("up", "--config", str(config), *arguments, home=folder / "home", **KEYS, **env) as gateway:
            yield World(gateway, fake, config)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with strict(tmp_path_factory.mktemp("strict"), "--strict-egress", box=True) as found:
        yield found


@needs_witness
class TestRunning:
    def test_a_provider_is_asked_with_its_key(self, world: World) -> None:
        assert world.ask()["choices"]
        assert world.key == f"Bearer {SECRET}"
        assert world.ask(model="house/gpt-4o")["choices"]
        assert world.key == f"Bearer {HOUSE}"

    def test_streams_embeddings_and_counts_pass(self, world: World) -> None:
        assert world.raw(stream=True).rstrip().endswith(b"data: [DONE]")
        assert world.ask("/v1/embeddings", model="openai/text-embedding-3-small", input="hi")["data"]
        assert world.ask("/v1/responses", input="hi", messages=None)["output"]

    def test_owned_models_run_inside(self, world: World) -> None:
        said = world.ask(model="own/banking77", messages=[{"role": "user", "content": "my card has not arrived"}])
        assert "card_arrival" in said["choices"][0]["message"]["content"]

    def test_everything_but_the_egress_process_is_in_a_namespace_with_loopback_alone(self, world: World) -> None:
        pids = world.pids
        assert len(pids) >= 4  # the parent of all, a worker, the steward, an engine
        assert len({network(pid) for pid in pids}) == 1
        devices = Path(f"/proc/{pids[0]}/net/dev").read_text().splitlines()[2:]
        assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
        routes = Path(f"/proc/{pids[0]}/net/route").read_text().splitlines()[1:]
        assert routes == []

    def test_from_inside_nobody_can_be_reached(self, world: World) -> None:
        port = world.fake.url.rpartition(":")[2]
        script = """
import socket, sys
for address in (("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 443), ("9.9.9.9", 53)):
    one = socket.socket()
    one.settimeout(2)
    try:
        one.connect(address)
        print("open")
    except OSError as error:
        print(type(error).__name__, error.errno)
try:
    socket.getaddrinfo("example.org", 443)
    print("open")
except OSError:
    print("no name")
"""
        assert entered(world.pids[-1], script, port).splitlines() == [
            "ConnectionRefusedError 111", "OSError 101", "OSError 101", "no name",
        ]  # fmt: skip

    def test_a_way_out_of_the_namespace_is_shut(self, world: World) -> None:
        """What a worker would need to leave it are capabilities that it has not."""
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{world.pids[-1]}/status").read_text().splitlines()
            if "\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        dangerous = (12, 13, 16, 17, 18, 19, 21)  # net_admin, net_raw, module, rawio, chroot, ptrace, sys_admin
        for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            assert not int(status[name], 16) & sum(1 << number for number in dangerous), name

    def test_no_key_is_inside(self, world: World) -> None:
        world.ask()
        world.ask(model="house/gpt-4o")
        secrets = [secret.encode() for secret in KEYS.values()]
        for pid in world.pids:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            assert not any(secret in environ for secret in secrets), pid
            held = _memory(pid)
            assert b"held-by-egress" in held or b"FREEHOLD_ENGINE" in held, "the memory was not read"
            assert not any(secret in held for secret in secrets), pid
        for name in ("config.yaml", "config.inside.yaml"):
            text = (world.gateway.home / "run" / name).read_bytes()
            assert not any(secret in text for secret in secrets)
            assert b"${UPSTREAM_KEY}" in text

    def test_the_egress_process_may_do_little(self, world: World) -> None:
        pid = world.egress
        status = Path(f"/proc/{pid}/status").read_text()
        uid = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
        assert int(uid) != 0
        assert all(line.split()[1] == "0" * 16 for line in status.splitlines() if line.startswith(("CapEff", "CapPrm")))
        assert Path(f"/proc/{pid}/status").stat().st_uid == 0, "another process of its user could look into it"

    def test_the_socket_is_for_this_user_alone(self, world: World) -> None:
        path = world.gateway.home / "run" / "egress.sock"
        assert path.stat().st_mode & 0o777 == 0o600

    def test_labels_are_asked_about_by_the_gateway_first(self, world: World) -> None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            world.raw(headers={"x-freehold-label": "restricted"})
        assert "restricted" in json.loads(caught.value.read())["error"]["message"]

    def test_an_image_is_fetched_by_the_egress_process(self, world: World) -> None:
        """It is there that its host is judged: one of this machine is refused as it is without strict mode."""
        picture = [{"type": "image_url", "image_url": {"url": "https://127.0.0.1/a.png"}}]
        with pytest.raises(urllib.error.HTTPError) as caught:
            world.raw(model="pictures/llava", messages=[{"role": "user", "content": picture}])
        assert "no public host" in json.loads(caught.value.read())["error"]["message"]
        (path,) = (world.gateway.home / "egress").glob("*.jsonl")
        assert b'"kind":"fetched"' in path.read_bytes()

    def test_an_egress_process_that_is_killed_is_started_again(self, world: World) -> None:
        before = world.egress
        os.kill(before, signal.SIGKILL)
        _until(lambda: _answers(world))
        assert world.egress != before
        assert world.key == f"Bearer {SECRET}"

    def test_a_changed_key_is_used_at_once_and_never_seen_inside(self, world: World) -> None:
        world.config.write_text(world.config.read_text().replace("HOUSE_KEY", "NEXT_KEY"))
        os.kill(world.gateway.process.pid, signal.SIGHUP)

        def changed() -> bool:
            world.ask(model="house/gpt-4o")
            return world.key == f"Bearer {NEXT}"

        _until(changed)
        assert not any(NEXT.encode() in _memory(pid) for pid in world.pids)

    def test_a_new_provider_is_reached_after_a_reload(self, world: World) -> None:
        text = world.config.read_text()
        more = f'  newer: {{base_url: "{world.fake.url}/v1", api_key: "${{NEWER_KEY}}", owned: true}}\nkeys:'
        world.config.write_text(text.replace("\nkeys:", "\n" + more, 1))
        os.kill(world.gateway.process.pid, signal.SIGHUP)

        def reached() -> bool:
            try:
                world.ask(model="newer/gpt-4o")
            except urllib.error.HTTPError:
                return False
            return world.key == f"Bearer {NEWER}"

        _until(reached)


def _answers(world: World) -> bool:
    try:
        return bool(world.ask()["choices"])
    except urllib.error.HTTPError:
        return False  # 502 for what was in flight, 503 until it is there again


def _memory(pid: int) -> bytes:
    """All that a process has in its memory, as far as it can be read."""
    held = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if "w" in rights and end - start < 1 << 28:
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(start)
                    held.append(memory.read(end - start))
    return b"".join(held)


def _until(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def reconciled(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "audit", "reconcile", "--json", *arguments],
        capture_output=True,
        env=clean_environment(FREEHOLD_HOME=str(home)),
    )
    return done.returncode, json.loads(done.stdout)


@needs_witness
def test_three_accounts_agree_and_the_table_goes(tmp_path: Path) -> None:
    before = set(tables())
    with strict(tmp_path, "--strict-egress") as world:
        (table,) = set(tables()) - before
        for number in range(5):
            world.ask(messages=[{"role": "user", "content": "x" * 1000 * number}])
        world.raw(stream=True)
        with pytest.raises(urllib.error.HTTPError):
            world.raw(model="openai/fake-status-429")
        status, running = reconciled(world.gateway.home)
        assert (status, running["ended"]) == (0, None), running["differences"]
    status, result = reconciled(tmp_path / "home")
    assert status == 0, result["differences"]
    assert table not in tables()
    assert result["witnessed"]
    assert result["receipts"] == result["sent"] >= 7
    assert result["receipts_out"] == result["sent_out"] > 10_000
    low, high = result["carried"]
    assert low <= result["allowed"]
    assert result["sent_out"] + result["heads_out"] <= high
    assert [(one["address"], one["port"]) for one in result["places"]] == [
        ("127.0.0.1", int(world.fake.url.rpartition(":")[2]))
    ]


@needs_witness
def test_traffic_to_a_place_that_is_not_configured_shows(tmp_path: Path) -> None:
    """Somebody who is the egress process's user sends something elsewhere: the kernel has seen it."""
    listener = socket.create_server(("127.0.0.1", 0))
    place = listener.getsockname()

    def take() -> None:
        with listener.accept()[0] as taken:
            taken.recv(1 << 20)

    taking = threading.Thread(target=take)
    taking.start()
    with strict(tmp_path, "--strict-egress") as world:
        world.ask()
        uid = Path(f"/proc/{world.egress}").stat().st_uid
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            one = socket.socket()
            one.connect(place)
            one.send(b"a secret that nobody wrote down")
            os._exit(0)
        os.waitpid(child, 0)
        taking.join(10)
    listener.close()
    status, result = reconciled(tmp_path / "home")
    assert status == 1
    assert [one["where"] for one in result["differences"]] == [f"tcp 127.0.0.1:{place[1]}"]


@needs_witness
def test_a_record_that_was_cut_shows(tmp_path: Path) -> None:
    with strict(tmp_path, "--strict-egress") as world:
        for _ in range(3):
            world.ask(messages=[{"role": "user", "content": "x" * 50_000}])
    (path,) = (tmp_path / "home" / "egress").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    dropped = next(index for index, line in enumerate(lines) if b'"sent"' in line)
    path.write_bytes(b"".join(lines[:dropped] + lines[dropped + 1 :]))
    status, result = reconciled(tmp_path / "home")
    assert status == 1
    told = " ".join(one["what"] for one in result["differences"])
    assert "never sent it" in told
    assert "the record explains" in told


@needs_witness
def test_a_run_whose_parent_was_killed_is_ended_by_the_next(tmp_path: Path) -> None:
    before = set(tables())
    with fake_here() as fake:
        config = tmp_path / "freehold.yaml"
        config.write_text(configured(fake.url, "box: false"))
        env = clean_environment(FREEHOLD_HOME=str(tmp_path / "home"), **KEYS)
        command = [sys.executable, "-m", "freehold", "up", "--config", str(config), "--strict-egress", "--json"]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        pids = list(below(process.pid))
        world = World(Running(url, process, tmp_path / "home"), fake, config)
        world.ask()
        process.kill()
        process.wait()
        process.stdout.close()
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        (left,) = set(tables()) - before
        with started("up", "--config", str(config), "--strict-egress", home=tmp_path / "home", **KEYS):
            assert left not in tables()
    assert set(tables()) == before
    runs = sorted((tmp_path / "home" / "egress").glob("*.json"))
    first = json.loads(runs[0].read_bytes())
    assert first["ended"]
    assert first["counted"]["bytes"] > 0
    status, result = reconciled(tmp_path / "home", "--run", first["name"])
    assert status == 0, result["differences"]


def refused(folder: Path, *arguments: str, config: str = "", **env: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "freehold.yaml"
    path.write_text(config or configured("http://127.0.0.1:9", "box: false"))
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "up", "--config", str(path), *arguments],
        capture_output=True,
        timeout=60,
        env=clean_environment(FREEHOLD_HOME=str(folder / "home"), **KEYS, **env),
    )
    assert done.returncode != 0
    assert not done.stdout
    return done.stderr.decode()


@needs_namespace
def test_without_a_witness_it_does_not_start(tmp_path: Path) -> None:
    said = refused(tmp_path, "--strict-egress", PATH=str(tmp_path))
    assert "cannot be counted by the kernel" in said
    assert "--no-witness" in said


@needs_namespace
def test_without_a_witness_on_purpose(tmp_path: Path) -> None:
    before = tables() if os.geteuid() == 0 else []
    with strict(tmp_path, "--strict-egress", "--no-witness") as world:
        assert world.ask()["choices"]
        assert len(inside(world.gateway.process.pid)) >= 3
        assert os.geteuid() != 0 or tables() == before
    status, result = reconciled(tmp_path / "home")
    assert (status, result["witnessed"]) == (0, False)


def test_where_no_namespace_can_be_made_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(kernel, "new_network", refuse)
    made = tmp_path / "made"
    with pytest.raises(ConfigError, match=r"no network namespace.*Operation not permitted") as caught:
        namespace.start(["/bin/touch", str(made)], {}, set())
    assert "--no-namespace" in (caught.value.hint or "")
    assert not made.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strict-egress", "--air-gapped"], "exclude each other"),
        (["--no-witness"], "goes with --strict-egress"),
        (["--strict-egress", "--no-namespace"], "goes with --air-gapped"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(tmp_path, *arguments)


def test_an_engine_that_runs_outside(tmp_path: Path) -> None:
    config = "server: {egress: strict}\nown: [{name: a, engine: ollama}]\n"
    assert "name that server under providers" in refused(tmp_path, config=config)
    assert "name that server under providers" in refused(
        tmp_path, "--strict-egress", config="own: [{name: a, engine: ollama}]\n"
    )
