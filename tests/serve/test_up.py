"""`freehold up`: the contract that scripts rely on, reload, limits, faults, and how it ends."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import KEY, Running, clean_environment, config_for, gateway_for, started

from freehold.serve.up import MAX_PAUSE, MAX_PAUSE_SERVING, Child, pause


def post(url: str, body: Any, key: str | None = KEY, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Returns status, headers (lower-case) and decoded JSON, errors included."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {}), **headers}
    request = urllib.request.Request(url, data, sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, json.loads(error.read())


def chat(model: str = "openai/fake", **extra: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **extra}


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Returns the first truthy result; polls because the other side is another process."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return result


def raw(url: str, data: bytes, *, close_after: float | None = None) -> bytes:
    """Sends bytes as they are and returns what comes back until the other side closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        if close_after is not None:
            time.sleep(close_after)
            return b""
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def inflight(url: str) -> int:
    """Requests the gateway works on, from its metrics page."""
    request = urllib.request.Request(url + "/metrics", headers={"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("freehold_inflight")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


class TestContract:
    def test_the_json_line_names_url_key_and_pid(self, fake: Running, tmp_path: Path) -> None:
        (tmp_path / "freehold.yaml").write_text(config_for(fake.url))
        process = subprocess.Popen(
            [sys.executable, "-m", "freehold", "up", "--config", str(tmp_path / "freehold.yaml"), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(FREEHOLD_HOME=str(tmp_path / "home"), UPSTREAM_KEY="x" * 20),
        )
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["key"] == KEY
        assert said["pid"] == process.pid
        assert said["url"].startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
        assert rest == b""
        assert process.returncode == 0

    def test_a_first_start_without_configuration_makes_a_key_and_keeps_it_hashed(self, tmp_path: Path) -> None:
        (tmp_path / "freehold.yaml").write_text("server: {port: 0}\nbox: false\ndiscover: false\n")
        arguments = ("up", "--config", str(tmp_path / "freehold.yaml"))
        with started(*arguments, home=tmp_path / "home") as running:
            key = json.loads((running.home / "run" / "up.json").read_text())["key"]
            assert key.startswith("fh-")
            assert running.get("/v1/models", Authorization=f"Bearer {key}")["object"] == "list"
        assert key not in (tmp_path / "home" / "keys.json").read_text()
        assert (tmp_path / "home" / "keys.json").stat().st_mode & 0o77 == 0
        with started(*arguments, home=tmp_path / "home") as running:
            assert running.get("/v1/models", Authorization=f"Bearer {key}")["object"] == "list"

    def test_a_mistake_in_the_file_names_it_and_exits_1(self, tmp_path: Path) -> None:
        (tmp_path / "freehold.yaml").write_text("server:\n  prot: 1\n")
        done = subprocess.run(
            [sys.executable, "-m", "freehold", "up", "--config", str(tmp_path / "freehold.yaml")],
            capture_output=True,
            text=True,
            env=clean_environment(FREEHOLD_HOME=str(tmp_path / "home")),
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert "freehold.yaml:2" in done.stderr
        assert "port" in done.stderr

    def test_a_port_in_use_and_a_second_gateway_say_what_to_do(self, fake: Running, tmp_path: Path) -> None:
        with gateway_for(tmp_path / "one", fake.url) as running:
            port = running.url.rsplit(":", 1)[1]
            config = tmp_path / "one" / "freehold.yaml"
            for home, needle in ((tmp_path / "two", "in use"), (running.home, "another freehold up")):
                done = subprocess.run(
                    [sys.executable, "-m", "freehold", "up", "--config", str(config), "--port", port],
                    capture_output=True,
                    text=True,
                    env=clean_environment(FREEHOLD_HOME=str(home), UPSTREAM_KEY="x" * 20),
                    timeout=30,
                    check=False,
                )
                assert done.returncode == 1
                assert needle in done.stderr
                assert "hint:" in done.stderr


class TestOpenDoors:
    def test_health_is_open_and_everything_else_asks_for_a_key(self, gateway: Running) -> None:
        assert gateway.get("/health/live")["status"] == "ok"
        assert gateway.get("/health/ready")["status"] == "ok"
        for path in ("/metrics", "/status", "/v1/models", "/v1/models/fast"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                gateway.get(path)
            with refused.value as error:
                assert error.code == 401
                assert error.headers["www-authenticate"].startswith("Basic")

    def test_head_on_the_root_answers(self, gateway: Running) -> None:
        request = urllib.request.Request(gateway.url + "/", method="HEAD")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def test_the_status_page_opens_with_basic_auth_and_holds_no_secret(self, gateway: Running) -> None:
        import base64

        token = base64.b64encode(f"me:{KEY}".encode()).decode()
        request = urllib.request.Request(gateway.url + "/status", headers={"Authorization": f"Basic {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = answer.read().decode()
        assert "openai/gpt-4o-mini" in page
        assert "smart" in page
        assert "upstream-secret" not in page
        assert KEY not in page

    def test_metrics_count_requests_by_deployment_and_never_by_user_text(self, gateway: Running) -> None:
        post(gateway.url + "/v1/chat/completions", chat("openai/fake"))
        post(gateway.url + "/v1/chat/completions", chat("no-such-model-as-this"))
        request = urllib.request.Request(gateway.url + "/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = answer.read().decode()
        assert 'freehold_requests_total{model="openai/fake",provider="openai",route="chat",status="200"}' in page
        assert "freehold_overhead_seconds_bucket" in page
        assert "no-such-model" not in page


class TestBadInput:
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/embeddings"])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"text"',
            b'{"model": 5, "messages": []}',
            b'{"messages": []}',
            b'{"model": "openai/fake", "messages": "hi", "prompt": 5, "input": {}}',
            b'{"model": "openai/fake", "messages": [{"role": "user", "content": "\xff"}], "prompt": "\xff"}',
            b'{"model": "openai/fake", "stream": "yes", "messages": [], "prompt": "x", "input": 7, "max_tokens": 1}',
            b"[" * 200_000,
            b'{"a":' * 100_000,
        ],
    )
    def test_malformed_bodies_get_a_4xx_in_the_dialect(self, gateway: Running, path: str, body: bytes) -> None:
        status, headers, answer = post(gateway.url + path, body)
        assert 400 <= status < 500
        assert headers["x-request-id"].startswith("req_")
        assert answer["error"]["message"]
        if path == "/v1/messages":
            assert answer["type"] == "error"

    def test_a_body_over_the_limit_is_refused_before_it_is_read(self, gateway: Running) -> None:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
        answer = raw(gateway.url, head.encode() + b"Content-Length: 9999999999\r\n\r\n")
        assert b" 413 " in answer.split(b"\r\n")[0]
        assert b"max_body_mb" in answer

    def test_without_a_key_no_body_is_waited_for(self, gateway: Running) -> None:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n{"
        assert b" 401 " in raw(gateway.url, head).split(b"\r\n")[0]

    def test_a_limit_beyond_all_sense_is_the_providers_to_judge(self, gateway: Running) -> None:
        status, _, _ = post(gateway.url + "/v1/chat/completions", chat(max_tokens=10**30))
        assert status < 500

    def test_a_get_on_a_post_path_and_an_unknown_path(self, gateway: Running) -> None:
        for path, code in (("/v1/chat/completions", 405), ("/v1/nothing", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                gateway.get(path, Authorization=f"Bearer {KEY}")
            with refused.value as error:
                assert error.code == code
                assert json.loads(error.read())["error"]["message"]

    def test_a_compressed_body_is_refused_in_words(self, gateway: Running) -> None:
        status, _, answer = post(gateway.url + "/v1/chat/completions", b"\x1f\x8b", **{"content-encoding": "gzip"})
        assert status == 415
        assert "compressed" in answer["error"]["message"]

    def test_the_host_header_changes_nothing(self, gateway: Running) -> None:
        request = b"GET /metrics HTTP/1.1\r\nHost: x/health/live?\r\nConnection: close\r\n\r\n"
        assert b" 401 " in raw(gateway.url, request).split(b"\r\n")[0]


FAULTS_WHOLE = ["cut_before_headers", "cut_after_headers", "rst", "bad_json", "wrong_length_long", "html_502"]


class TestFaults:
    def test_a_stream_that_breaks_ends_with_an_error_event_never_a_clean_end(self, gateway: Running) -> None:
        body = json.dumps(chat("openai/fake-fault-cut-between-events+events-20", stream=True)).encode()
        request = urllib.request.Request(
            gateway.url + "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}", "content-type": "x"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read().decode()
        assert '"error"' in text
        assert "[DONE]" not in text
        assert '"finish_reason":"stop"' not in text.replace(" ", "")

    def test_a_dead_provider_falls_over_to_the_next_of_the_alias(self, fake: Running, tmp_path: Path) -> None:
        models = "models: {safe: [openai/fake-fault-cut-before-headers, anthropic/fake]}"
        with gateway_for(tmp_path, fake.url, models) as running:
            for stream in (False, True):
                status, headers = self._status(running, chat("safe", stream=stream))
                assert status == 200
                assert headers["x-freehold-deployment"] == "anthropic/fake"
                assert headers["x-freehold-attempts"] == "2"

    def test_the_breaker_opens_for_a_group_of_one_and_says_when(self, fake: Running, tmp_path: Path) -> None:
        extra = "retries: 0\nbreaker: {failures: 2, cooldown: 30}"
        with gateway_for(tmp_path, fake.url, extra) as running:
            url = running.url + "/v1/chat/completions"
            assert [post(url, chat("openai/fake-status-500"))[0] for _ in range(2)] == [502, 502]
            status, headers, answer = post(url, chat("openai/fake-status-500"))
            assert status == 503
            assert "resting" in answer["error"]["message"]
            assert 1 <= int(headers["retry-after"]) <= 30
            assert post(url, chat("openai/fake"))[0] == 200

    def test_a_breaker_that_opens_between_retries_does_not_hide_why(self, fake: Running, tmp_path: Path) -> None:
        with gateway_for(tmp_path, fake.url, "breaker: {failures: 2, cooldown: 30}") as running:
            _, _, body = post(running.url + "/v1/chat/completions", chat("openai/fake-status-529"))
            assert body["error"]["code"] == "upstream_overloaded"

    def test_a_client_that_leaves_cancels_the_upstream(self, gateway: Running, fake: Running) -> None:
        before = fake.get("/__fake__/served")["totals"]["cancelled"]
        body = json.dumps(chat("openai/fake-events-2000+event-20", stream=True)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        raw(gateway.url, head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body, close_after=0.5)
        eventually(lambda: fake.get("/__fake__/served")["totals"]["cancelled"] > before)

    def test_a_client_that_leaves_before_the_first_byte_cancels_too(self, gateway: Running, fake: Running) -> None:
        before = fake.get("/__fake__/served")["totals"]["cancelled"]
        body = json.dumps(chat("openai/fake-latency-8000")).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        raw(gateway.url, head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body, close_after=0.3)
        eventually(lambda: fake.get("/__fake__/served")["totals"]["cancelled"] > before, 5)

    def test_a_stalled_provider_times_out(self, fake: Running, tmp_path: Path) -> None:
        (tmp_path / "g").mkdir()
        text = config_for(fake.url, "retries: 0").replace("first_byte: 10, idle: 10", "first_byte: 0.3, idle: 0.3")
        (tmp_path / "g" / "freehold.yaml").write_text(text)
        with started(
            "up", "--config", str(tmp_path / "g" / "freehold.yaml"), home=tmp_path / "home", UPSTREAM_KEY="x" * 20
        ) as running:
            status, _, answer = post(running.url + "/v1/chat/completions", chat("openai/fake-latency-5000"))
            assert status == 504
            assert answer["error"]["code"] == "upstream_timeout"

    def _status(self, running: Running, body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        request = urllib.request.Request(
            running.url + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}


class TestLimitsAndLedger:
    def test_a_keys_limit_holds_over_two_workers_and_says_when_to_return(self, fake: Running, tmp_path: Path) -> None:
        extra = '  - {name: tight, key: "fh-tight-0123456789ab", requests_per_minute: 5}'
        with gateway_for(tmp_path, fake.url, extra, "--workers", "2") as running:
            url = running.url + "/v1/chat/completions"
            answers = [post(url, chat(), key="fh-tight-0123456789ab") for _ in range(8)]
            assert [status for status, _, _ in answers] == [200] * 5 + [429] * 3
            assert int(answers[-1][1]["retry-after"]) <= 12
            assert post(url, chat())[0] == 200

    def test_a_key_may_only_ask_for_its_models(self, fake: Running, tmp_path: Path) -> None:
        extra = '  - {name: narrow, key: "fh-narrow-0123456789a", models: [openai/fake]}'
        with gateway_for(tmp_path, fake.url, extra) as running:
            url = running.url + "/v1/chat/completions"
            assert post(url, chat("openai/fake"), key="fh-narrow-0123456789a")[0] == 200
            status, _, answer = post(url, chat("anthropic/fake"), key="fh-narrow-0123456789a")
            assert status == 403
            assert answer["error"]["code"] == "model_not_allowed"

    def test_the_ledger_agrees_with_the_providers_own_bill(self, tmp_path: Path) -> None:
        with started("fake", home=tmp_path / "f") as bill, gateway_for(tmp_path / "g", bill.url) as running:
            for provider in ("openai", "anthropic", "gemini"):
                for stream in (False, True):
                    body = chat(f"{provider}/fake", stream=stream)
                    request = urllib.request.Request(
                        running.url + "/v1/chat/completions",
                        json.dumps(body).encode(),
                        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
                    )
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        answer.read()
            totals = bill.get("/__fake__/served")["totals"]
            home = running.home
        usage = subprocess.run(
            [sys.executable, "-m", "freehold", "usage", "--by", "provider", "--json"],
            capture_output=True,
            text=True,
            env=clean_environment(FREEHOLD_HOME=str(home)),
            timeout=60,
            check=True,
        )
        rows = json.loads(usage.stdout)
        rows = rows["rows"] if isinstance(rows, dict) else rows
        assert sum(row["calls"] for row in rows) == totals["requests"] == 6
        assert sum(row["input"] for row in rows) == totals["input_tokens"]
        assert sum(row["output"] for row in rows) == totals["output_tokens"]


class TestReload:
    def test_a_good_change_is_taken_and_a_bad_one_is_not(self, fake: Running, tmp_path: Path) -> None:
        with gateway_for(tmp_path, fake.url) as running:
            config = tmp_path / "freehold.yaml"
            url = running.url + "/v1/chat/completions"
            assert post(url, chat("quick"))[0] == 404
            config.write_text(config_for(fake.url, "models: {quick: [openai/fake]}"))
            eventually(lambda: post(url, chat("quick"))[0] == 200)
            config.write_text("modles: {}\n")
            os.kill(running.process.pid, signal.SIGHUP)
            eventually(lambda: "modles" in self._log(tmp_path))
            assert post(url, chat("quick"))[0] == 200

    def test_a_model_file_that_is_missing_is_a_mistake_of_the_file(self, fake: Running, tmp_path: Path) -> None:
        with gateway_for(tmp_path, fake.url) as running:
            config = tmp_path / "freehold.yaml"
            config.write_text(config_for(fake.url, "own:\n  - path: gone.gguf\nmodels: {quick: [openai/fake]}"))
            os.kill(running.process.pid, signal.SIGHUP)
            eventually(lambda: "own[0].path" in self._log(tmp_path))
            assert "stays in force" in self._log(tmp_path)
            assert post(running.url + "/v1/chat/completions", chat("quick"))[0] == 404
            assert "gone.gguf" not in (running.home / "run" / "config.yaml").read_text()

    def _log(self, folder: Path) -> str:
        return "".join(path.read_text() for path in folder.glob("up-*.log"))


class TestEnd:
    def test_a_running_stream_is_finished_before_the_gateway_ends(self, fake: Running, tmp_path: Path) -> None:
        with gateway_for(tmp_path, fake.url) as running:
            request = urllib.request.Request(
                running.url + "/v1/chat/completions",
                json.dumps(chat("openai/fake-events-40+event-30", stream=True)).encode(),
                {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.readline()
                running.process.send_signal(signal.SIGTERM)
                assert b"[DONE]" in answer.read()
            assert running.process.wait(30) == 0

    def test_a_request_that_outlives_the_drain_is_told_so(self, fake: Running, tmp_path: Path) -> None:
        config = tmp_path / "freehold.yaml"
        config.write_text(config_for(fake.url).replace("drain_seconds: 5", "drain_seconds: 1"))
        up = ("up", "--config", str(config))
        with started(*up, home=tmp_path / "home", UPSTREAM_KEY="x" * 20) as running, ThreadPoolExecutor(1) as pool:
            url = running.url
            asked = pool.submit(post, url + "/v1/chat/completions", chat("openai/fake-latency-8000"))
            eventually(lambda: inflight(url) == 1)
            running.process.send_signal(signal.SIGTERM)
            status, _, body = asked.result(20)
            assert (status, body["error"]["code"]) == (503, "shutdown")
        with sqlite3.connect(tmp_path / "home" / "freehold.db") as store:
            assert store.execute("select count(*) from open_calls").fetchone() == (0,)
            assert store.execute("select count(*) from calls").fetchone() == (1,)

    def test_killing_the_parent_ends_its_children(self, fake: Running, tmp_path: Path) -> None:
        import psutil

        (tmp_path / "freehold.yaml").write_text(config_for(fake.url))
        process = subprocess.Popen(
            [sys.executable, "-m", "freehold", "up", "--config", str(tmp_path / "freehold.yaml"), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(FREEHOLD_HOME=str(tmp_path / "home"), UPSTREAM_KEY="x" * 20),
        )
        assert process.stdout is not None
        process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait()
        process.stdout.close()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive


@pytest.mark.parametrize(("began", "longest"), [(True, MAX_PAUSE_SERVING), (False, MAX_PAUSE)])
def test_the_pause_before_a_new_start_grows_to_its_bound(began: bool, longest: float) -> None:
    child = Child("worker 0", lambda: (1, began))
    pauses = []
    for _ in range(9):
        child.start()
        before = time.monotonic()
        child.ended(-signal.SIGKILL)
        pauses.append(child.due - before)
    assert 0.1 < pauses[0] < pauses[1] < pauses[2] <= longest + 0.1
    assert longest - 0.1 < pauses[-1] < longest + 0.1


def test_what_has_failed_for_hours_is_still_started_again() -> None:
    assert pause(5_000) == MAX_PAUSE
