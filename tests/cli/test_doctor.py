"""`freehold doctor`: each fault is found, named, and comes with the command that mends it."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from freehold.cli import check_engines, check_gateway, check_machine, doctor, main
from freehold.cli.site import Finding, Site
from freehold.home import database, journal_dir, keys_file, run_dir

Check = Callable[[Site], list[Finding]]
pytestmark = pytest.mark.usefixtures("home")


def faults(check: Check, config: str | None = None) -> list[Finding]:
    """What `check` complains of, with `config` as the file."""
    return [finding for finding in findings(check, config) if finding.verdict != "ok"]


def findings(check: Check, config: str | None = None) -> list[Finding]:
    path = None
    if config is not None:
        path = Path("freehold.yaml")
        path.write_text(config)
    found = check(Site(path))
    for finding in found:
        assert (finding.verdict == "ok") == (finding.fix is None), finding
    return found


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_a_fresh_installation_has_no_faults(check: Check) -> None:
    assert [finding.verdict for finding in findings(check, "server: {port: 0}\nbox: false\n")].count("fail") == 0


def test_every_mistake_of_the_configuration(tmp_path: Path) -> None:
    found = faults(check_gateway.configuration, "servr: {}\nretries: many\n")
    assert len(found) == 2
    assert found[0].found.startswith("freehold.yaml:1:1: servr")
    assert found[0].fix == "did you mean server?"


def test_with_a_broken_file_the_other_checks_go_on() -> None:
    assert findings(check_gateway.keys, "nonsense: 1\n")[0].verdict == "ok"


def test_a_configured_provider_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = faults(check_gateway.providers, "providers: {groq: {}}\n")
    assert (found.verdict, found.fix) == ("fail", "set GROQ_API_KEY")
    monkeypatch.setenv("GROQ_API_KEY", "gsk_0123456789abcdef")
    assert faults(check_gateway.providers, "providers: {groq: {}}\n") == []
    assert "0123456789abcdef" not in findings(check_gateway.providers)[0].found


TWO = "providers: {groq: {api_key: x}, openai: {api_key: x}}\n"


def test_terms_that_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.labels.rules.today", lambda: date(2027, 5, 1))
    late = faults(check_gateway.provider_terms, TWO)
    assert [(found.check, found.verdict) for found in late] == [("provider terms", "warn")] * 2
    assert late[1].found == "the terms of OpenAI API expire in 19 days, 2027-05-20"
    monkeypatch.setattr("freehold.labels.rules.today", lambda: date(2028, 1, 1))
    gone = faults(check_gateway.provider_terms, TWO)
    assert gone[1].found == "the terms of OpenAI API expired on 2027-05-20: it is cleared for internal at most"
    assert "docs/providers-policies.md" in str(gone[1].fix)
    monkeypatch.setattr("freehold.labels.rules.today", lambda: date(2026, 12, 1))
    assert findings(check_gateway.provider_terms, TWO)[0].found == "2 rows hold, the first until 2027-05-20"


def test_terms_that_do_not_exist() -> None:
    (found,) = faults(check_gateway.configuration, "providers: {openai: {api_key: x, policy: openai-zrd}}\n")
    assert "providers.openai.policy: openai has no terms openai-zrd" in found.found
    assert found.fix == "did you mean openai-zdr?"
    lab = "providers: {lab: {base_url: 'http://127.0.0.1:1/v1', api_key: x, policy: contract}}\n"
    assert faults(check_gateway.provider_terms, lab) == []


CLOUDS = "AWS_", "AZURE_", "GOOGLE_", "OPENAI_API_VERSION", "CLOUDSDK_", "CLOUD_ML_"
PLACED = "bedrock: {region: eu-west-1}"
LOCATED = "vertex: {region: global, project: lab}"
HOSTED = 'azure: {base_url: "https://acme.openai.azure.com"}'


@pytest.mark.parametrize(
    ("provider", "env", "found", "fix"),
    [
        ("bedrock: {}", {}, "bedrock: no region for Amazon Bedrock", "or region under providers.bedrock"),
        (PLACED, {}, "bedrock: no AWS credentials were found", "set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID"),
        (PLACED, {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}, "AWS_SECRET_ACCESS_KEY of", "set AWS_SECRET_ACCESS_KEY"),
        (PLACED, {"AWS_PROFILE": "lab"}, "AWS profile lab has no keys", "run: aws configure --profile lab"),
        ("vertex: {region: global}", {}, "no project for Google Vertex AI", "or project under providers.vertex"),
        (LOCATED, {}, "no Google credentials were found", "set GOOGLE_APPLICATION_CREDENTIALS"),
        (
            LOCATED,
            {"GOOGLE_APPLICATION_CREDENTIALS": "gone.json"},
            "gone.json cannot be read",
            "set GOOGLE_APPLICATION",
        ),
        ("azure: {}", {}, "azure: no base_url for Azure OpenAI", "set AZURE_OPENAI_ENDPOINT"),
        (HOSTED, {}, "azure: no Azure credentials were found", "set AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID"),
        (HOSTED, {"AZURE_TENANT_ID": "t"}, "azure: AZURE_CLIENT_ID is missing", "set AZURE_CLIENT_ID"),
        (HOSTED, {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, "no Azure secret", "set AZURE_CLIENT_SECRET or"),
    ],
)
def test_what_a_cloud_lacks(
    provider: str, env: dict[str, str], found: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(CLOUDS)]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), **env}.items():
        monkeypatch.setenv(name, value)
    (finding,) = faults(check_gateway.providers, f"discover: false\nproviders:\n  {provider}\n")
    assert finding.verdict == "fail"
    assert found in finding.found
    assert fix in str(finding.fix)


def test_a_service_account_without_the_package_that_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "client_email": "a@b.example", "private_key": "x"}')
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    config = f"discover: false\nproviders: {{vertex: {{region: global, project: p, credentials: {key}}}}}\n"
    (finding,) = faults(check_gateway.providers, config)
    assert finding.fix == "pip install 'freehold[vertex]'"


def test_clouds_that_have_all_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key-0123456789")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key-0123456789")
    config = f"discover: false\nproviders:\n  {PLACED}\n  {HOSTED}\n"
    assert faults(check_gateway.providers, config) == []
    assert findings(check_gateway.providers, config)[0].found == "bedrock, azure"


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (found,) = faults(check_gateway.port, f"server: {{port: {port}}}\n")
    assert found.verdict == "fail"
    assert str(found.fix).startswith("freehold up --port ")
    assert faults(check_gateway.port, f"server: {{port: {port}}}\n") == []


def test_an_address_that_is_not_ours() -> None:
    (found,) = faults(check_gateway.port, "server: {host: 192.0.2.1}\n")
    assert "192.0.2.1" in found.found


def test_a_gateway_that_ended_without_saying_so() -> None:
    (run_dir() / "up.json").write_text('{"url": "http://127.0.0.1:1", "key": null, "pid": 4194304999}')
    (found,) = faults(check_gateway.gateway)
    assert (found.verdict, found.found) == ("warn", "it ended without saying so")


def test_a_gateway_that_does_not_answer() -> None:
    (run_dir() / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": None, "pid": os.getpid()}))
    (found,) = faults(check_gateway.gateway)
    assert found.verdict == "fail"
    assert found.fix == f"kill {os.getpid()} && freehold up"


def test_a_model_file_that_is_missing_or_no_model(tmp_path: Path) -> None:
    (found,) = faults(check_engines.engines, "own: [{path: gone.gguf}]\nbox: false\n")
    assert "gone.gguf" in found.found
    (tmp_path / "bad.gguf").write_bytes(b"not a model" * 10)
    (found,) = faults(check_engines.engines, "own: [{path: bad.gguf}]\nbox: false\n")
    assert "not a GGUF file" in found.found


def test_the_file_of_the_running_gateway_is_the_one_that_is_checked(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("retries: 99\n")
    told = {"url": "http://127.0.0.1:1", "key": None, "pid": os.getpid(), "config": str(tmp_path / "other.yaml")}
    (run_dir() / "up.json").write_text(json.dumps(told))
    (found,) = faults(check_gateway.configuration)
    assert found.verdict == "fail"
    assert "other.yaml:1:10" in found.found


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (found,) = faults(check_engines.engines)
    assert (found.verdict, found.fix) == ("fail", "pip install 'freehold[own]'")
    assert "own/banking77 cannot run" in found.found


def test_a_key_file_that_cannot_be_read() -> None:
    keys_file().write_text("{")
    (found,) = faults(check_gateway.keys)
    assert found.verdict == "fail"
    keys_file().write_text("[]")
    keys_file().chmod(0o644)
    (found,) = faults(check_gateway.keys)
    assert found.fix == f"chmod 600 {keys_file()}"


def test_a_store_that_is_whole_and_one_that_is_not() -> None:
    with sqlite3.connect(database()) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 200,)] * 500)
    connection.close()
    assert faults(check_gateway.store) == []
    content = bytearray(database().read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 8192
    database().write_bytes(content)
    (found,) = faults(check_gateway.store)
    assert found.verdict == "fail"
    assert f"mv {database()}" in str(found.fix)


def test_a_store_that_is_no_database() -> None:
    database().write_bytes(b"hello" * 1000)
    (found,) = faults(check_gateway.store)
    assert "damaged" in found.found


def test_journals_nobody_takes_in() -> None:
    segment = a_journal()
    assert "the next freehold up takes them in" in findings(check_gateway.journals)[0].found
    (run_dir() / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": None, "pid": os.getpid()}))
    assert faults(check_gateway.journals) == []
    long_ago = time.time() - 3600
    os.utime(segment, (long_ago, long_ago))
    (found,) = faults(check_gateway.journals)
    assert "wait for the ledger" in found.found
    take_in()
    assert [found.found for found in findings(check_gateway.journals)] == ["nothing waits for the ledger"]


def test_a_journal_with_damage_is_left_for_a_person() -> None:
    segment = a_journal(calls=2)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2 - 4] ^= 0xFF
    segment.write_bytes(content)
    take_in()
    (found,) = faults(check_gateway.journals)
    assert (found.verdict, found.fix) == ("warn", f"rm {segment}.damaged")


def a_journal(calls: int = 1) -> Path:
    """A worker wrote the ends of some calls and was gone."""
    from freehold.record.entries import Settlement
    from freehold.record.journal import Journal

    journal = Journal(journal_dir(), "w0")
    for number in range(calls):
        journal.append(Settlement(f"req-{number}", "ok", 200))
    path = journal.path
    journal.close()
    return path


def take_in() -> None:
    from freehold.config.schema import Config
    from freehold.record.ingest import Ingest
    from freehold.record.prices import Pricer
    from freehold.record.store import Store

    store = Store(database())
    ingest = Ingest(store, journal_dir(), Pricer(Config()))
    ingest.step()
    ingest.close()
    store.close()


def test_old_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date

    monkeypatch.setattr("freehold.record.prices.price_age", lambda: date(2025, 1, 1))
    (found,) = faults(check_gateway.prices)
    assert found.fix == "pip install --upgrade genai-prices"


def test_servers_on_this_machine_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.call.discover import LocalServer

    async def probe(fetch: Any, **options: Any) -> list[LocalServer]:
        assert 8484 in options["skip"]
        return [LocalServer("ollama", "http://127.0.0.1:11434/v1", ["llama3"])]

    monkeypatch.setattr("freehold.call.discover.probe_local", probe)
    (found,) = findings(check_gateway.local_servers)
    assert found.found == "ollama at http://127.0.0.1:11434/v1 (1 models)"


def test_a_state_folder_open_to_others(home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    (found,) = faults(check_machine.state_folder)
    assert (found.verdict, found.fix) == ("warn", f"chmod 700 {home}")


@pytest.mark.parametrize(("free", "verdict"), [(10 << 20, "fail"), (500 << 20, "warn"), (5 << 30, "ok")])
def test_disk_space(free: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))
    assert findings(check_machine.disk)[0].verdict == verdict


def test_a_clock_before_our_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    (found,) = faults(check_machine.clock)
    assert (found.verdict, found.fix) == ("fail", "set the clock: timedatectl set-ntp true")


def test_files_from_the_future() -> None:
    path = run_dir()
    later = time.time() + 7200
    os.utime(path, (later, later))
    (found,) = faults(check_machine.clock)
    assert (found.verdict, "in the future" in found.found) == ("warn", True)


def test_no_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    (found,) = faults(check_machine.certificates)
    assert found.fix == "unset SSL_CERT_FILE"
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    (found,) = faults(check_machine.certificates)
    assert "apt-get install ca-certificates" in str(found.fix)


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 1_000_000))
    (found,) = faults(check_machine.descriptors)
    assert found.fix == "ulimit -n 4100, or server.max_inflight: 462"


def test_packages_that_are_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "uvloop":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "click" else "99.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    missing, old = sorted(faults(check_machine.packages), key=lambda finding: "older" in finding.found)
    assert str(missing.fix).startswith("pip install 'uvloop>=")
    assert str(old.fix).startswith("pip install --upgrade 'click>=")


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on() -> None:
    def broken_check(site: Site) -> list[Finding]:
        raise ZeroDivisionError("ours")

    def unreadable(site: Site) -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/x")

    first, second, third = doctor.examine(Site(None), (broken_check, unreadable, check_machine.python))
    assert (first.check, first.verdict) == ("broken check", "fail")
    assert second.found == "/x: Permission denied"
    assert third.verdict == "ok"


def test_the_command_tells_faults_and_fixes() -> None:
    Path("freehold.yaml").write_text("box: false\nproviders: {groq: {}}\nserver: {port: 0}\n")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "fix for providers: set GROQ_API_KEY\n" in result.stdout
    value = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert value["verdict"] == "fail"
    assert {"check", "verdict", "found", "fix"} == set(value["checks"][0])


def test_the_command_is_content_with_a_good_installation() -> None:
    Path("freehold.yaml").write_text("box: false\nserver: {port: 0}\n")
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert json.loads(result.stdout)["verdict"] in ("ok", "warn"), result.stdout
    assert result.exit_code == 0
