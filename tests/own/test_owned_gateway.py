"""The whole gateway with owned models: loaded on demand, changing places, killed, pulled while it runs."""

import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running import KEY, Running, gateway_for

from freehold.own.weights.store import Artefact, Source, Store

OWN = """
engines: {{memory: 150MiB, queue: 30}}
breaker: {{failures: 3, cooldown: 60}}
own:
  - {{path: {a}, name: a, load: demand, context: 128, parallel: 2, memory: 100MiB}}
  - {{path: {b}, name: b, load: demand, context: 128, parallel: 2, memory: 100MiB}}
  - {{path: {a}, name: huge, load: demand, memory: 900MiB}}
  - {{name: never, engine: command, command: [sh, -c, "sleep 1000", "$${{PORT}}"], load: demand, memory: 1MiB}}
models:
  either: [own/huge, openai/fake]
  patient: [own/never, openai/fake]
"""


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body.get("error", {}).get("code"))


def ask(url: str, model: str, tokens: int = 1, timeout: float = 60.0, **more: Any) -> Told:
    body = {"model": model, "max_tokens": tokens, "messages": [{"role": "user", "content": "hello"}], **more}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Told(answer.status, {k.lower(): v for k, v in answer.headers.items()}, json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, {k.lower(): v for k, v in error.headers.items()}, json.load(error))


def engines(running: Running) -> dict[str, Any]:
    return dict(json.loads((running.home / "run" / "engines.json").read_bytes()))


def until(met: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, fake: Running, tiny: Path, engine_needed: None
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("owned")
    for name in "ab":
        shutil.copy(tiny, folder / f"{name}.gguf")
    with gateway_for(folder, fake.url, OWN.format(a=folder / "a.gguf", b=folder / "b.gguf")) as running:
        yield running


def test_a_model_is_loaded_when_it_is_asked_for(house: Running) -> None:
    assert engines(house)["a"]["state"] == "absent"
    told = ask(house.url, "own/a")
    assert told.status == 200
    assert told.headers["x-freehold-deployment"] == "own/a"
    assert engines(house)["a"]["state"] == "ready"


def test_two_models_and_room_for_one_lose_no_request(house: Running) -> None:
    with ThreadPoolExecutor(16) as clients:
        told = list(clients.map(lambda n: ask(house.url, f"own/{'ab'[n % 2]}", 4), range(120)))
    assert [one for one in told if one.status != 200] == []
    found = engines(house)
    assert {found["a"]["state"], found["b"]["state"]} <= {"ready", "absent", "draining", "starting", "warming"}


def test_swaps_one_after_the_other(house: Running) -> None:
    for number in range(6):
        assert ask(house.url, f"own/{'ab'[number % 2]}").status == 200


def test_streams_are_not_cut_by_a_swap(house: Running) -> None:
    body = json.dumps(
        {
            "model": "own/a", "max_tokens": 100, "stream": True, "ignore_eos": True,
            "messages": [{"role": "user", "content": "hi"}],
        }
    ).encode()  # fmt: skip
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    def stream(_: int) -> bytes:
        request = urllib.request.Request(house.url + "/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    with ThreadPoolExecutor(8) as clients:
        streams = [clients.submit(stream, n) for n in range(8)]
        others = [clients.submit(ask, house.url, "own/b") for _ in range(4)]
        assert all(one.result().rstrip().endswith(b"data: [DONE]") for one in streams)
        assert {one.result().status for one in others} == {200}


def test_killed_engines_cost_nobody_an_answer(house: Running) -> None:
    """Whole answers have emitted nothing when their engine dies, so each is asked for again."""
    ask(house.url, "own/a")
    stop = threading.Event()

    def kill() -> None:
        for _ in range(3):
            pid = until(lambda: engines(house)["a"]["state"] == "ready" and engines(house)["a"]["pid"])
            os.kill(pid, signal.SIGKILL)
            if stop.wait(0.2):
                return

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(6) as clients:
        told = list(clients.map(lambda _: ask(house.url, "own/a", 16), range(60)))
    stop.set()
    killer.join(60)
    wrong = [one for one in told if one.status != 200]
    assert {one.code for one in wrong} <= {"engine_died"}, wrong
    assert len(wrong) <= 2, "only a request that met several deaths is given up"
    assert ask(house.url, "own/a").status == 200, "no breaker stands open"


def test_a_model_larger_than_memory_is_said_so_and_its_alias_goes_elsewhere_at_once(house: Running) -> None:
    began = time.monotonic()
    told = ask(house.url, "own/huge")
    assert told.status == 503
    assert "needs about 900.0 MiB of memory" in told.body["error"]["message"]
    assert time.monotonic() - began < 10
    elsewhere = ask(house.url, "either")
    assert (elsewhere.status, elsewhere.headers["x-freehold-deployment"]) == (200, "openai/fake")


def test_a_bad_request_loads_no_engine(house: Running) -> None:
    assert ask(house.url, "own/b").status == 200
    until(lambda: engines(house)["a"]["state"] == "absent")
    schema = {"type": "json_schema", "json_schema": {"name": "deep", "schema": _deep(200)}}
    told = ask(house.url, "own/a", response_format=schema)
    assert told.status == 400
    assert "nested" in told.body["error"]["message"]
    assert engines(house)["a"]["state"] == "absent"


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_a_client_that_leaves_is_not_waited_for(house: Running) -> None:
    with pytest.raises((TimeoutError, urllib.error.URLError)):
        ask(house.url, "own/never", timeout=0.5)
    assert ask(house.url, "own/a").status == 200


# Weights that are pulled while it runs.


def put_into_store(home: Path, name: str, file: Path, revision: str) -> str:
    store = Store(home / "models")
    with store.hold("test") as hold:
        ref = store.copy_in(hold, file)
        version = store.add(
            name,
            source=Source("hub", f"org/{name}", revision),
            artefacts=(Artefact("gguf-F32", "gguf", "F32", {f"{name}.gguf": ref}),),
            architecture="llama",
            context=128,
            template=True,
        )
    return version.full_name


def test_what_is_pulled_is_served_without_a_word(
    house: Running, make_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    assert put_into_store(house.home, "pulled", make_gguf("one.gguf"), "r1") == "pulled@v1"
    told = until(lambda: (told := ask(house.url, "own/pulled")).status == 200 and told)
    assert told.headers["x-freehold-deployment"] == "own/pulled"
    names = [one["id"] for one in house.get("/v1/models", authorization=f"Bearer {KEY}")["data"]]
    assert "own/pulled" in names
    assert "own/pulled@v1" not in names
    assert ask(house.url, "own/pulled@v1").status == 200
    assert engines(house)["pulled"]["number"] == 1, "one engine for both names"

    assert put_into_store(house.home, "pulled", make_gguf("two.gguf", layers=1), "r2") == "pulled@v2"
    until(lambda: engines(house).get("pulled@v1"))
    until(lambda: engines(house)["pulled"]["number"] == 2 and engines(house)["pulled"]["state"] in ("ready", "absent"))
    assert ask(house.url, "own/pulled").status == 200
    assert ask(house.url, "own/pulled@v1").status == 200
    assert ask(house.url, "own/pulled@v3").status == 404


def test_weights_that_were_changed_are_refused(house: Running, make_gguf: Callable[..., Path]) -> None:
    file = make_gguf("three.gguf", kv_heads=4)
    put_into_store(house.home, "changed", file, "r1")
    store = Store(house.home / "models")
    blob = store.blob(next(iter(store.find("changed").artefacts[0].files.values())).sha256)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    told = until(lambda: (told := ask(house.url, "own/changed")).status != 404 and told)
    assert told.status == 503
    assert "changed" in told.body["error"]["message"]
    # The first answer may come while the steward still tries: what lasts is said when it has given up.
    assert until(lambda: engines(house)["changed"]["lasting"])


def test_who_waits_too_long_is_told_when_to_come_again(
    tmp_path: Path, fake: Running, tiny: Path, engine_needed: None
) -> None:
    own = OWN.format(a=tiny, b=tiny).replace("queue: 30", "queue: 1, waiting: 3")
    with gateway_for(tmp_path, fake.url, own) as running:
        with ThreadPoolExecutor(8) as clients:
            told = list(clients.map(lambda _: ask(running.url, "own/never"), range(8)))
        assert {one.status for one in told} == {503}
        assert {one.code for one in told} == {"engine_loading", "engine_queue_full"}
        assert [one.code for one in told].count("engine_loading") == 3
        assert all(int(one.headers["retry-after"]) >= 1 for one in told)
        began = time.monotonic()
        elsewhere = ask(running.url, "patient")
        assert (elsewhere.status, elsewhere.headers["x-freehold-deployment"]) == (200, "openai/fake")
        assert time.monotonic() - began >= 0.9
