"""Pulling from a hub that is slow, broken, wrong or lying."""

import asyncio
import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_files import CARD, config, gguf, safetensors
from pulling import QUICK, Puller, hub_for

from freehold.errors import ConfigError, EngineError
from freehold.fake.hub import Fault, HubServer
from freehold.own.weights import hub as client
from freehold.own.weights.events import Note, Planning
from freehold.own.weights.pull import pulled
from freehold.own.weights.reference import parse
from freehold.own.weights.remote import Again, Finished, Opened, Patience, Shared

NAME = "acme/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
WEIGHTS = gguf(60_000)
TOKEN = "hf_0123456789abcdef"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_for(tmp_path, monkeypatch) as running:
        running.add(NAME, {FILE: WEIGHTS, "README.md": CARD})
        yield running


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "models")


async def refused(puller: Puller, reference: str = NAME, **more: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await puller(reference, **more)
    return caught.value


async def test_a_gguf_repository(hub: HubServer, puller: Puller) -> None:
    version = await puller(NAME)
    assert version.full_name == "tiny-GGUF@v1"
    assert (version.source.kind, version.source.revision) == ("hub", hub.repository(NAME).head)
    assert (version.licence, version.architecture, version.context) == ("apache-2.0", "llama", 512)
    assert puller.content(version, FILE) == WEIGHTS
    assert puller.content(version, "README.md") == CARD
    assert puller.store.choose(version).quantisation == "Q4_K_M"
    assert puller.partials == []


async def test_a_second_pull_fetches_nothing(hub: HubServer, puller: Puller) -> None:
    first = await puller(NAME)
    hub.seen.clear()
    assert await puller(NAME) == first
    assert not [seen for seen in hub.seen if "/resolve/" in seen.path or seen.storage]


async def test_a_moved_main_is_a_new_version_and_the_old_commit_the_old_one(hub: HubServer, puller: Puller) -> None:
    first = await puller(NAME)
    hub.add(NAME, {FILE: gguf(60_000, seed=1)})
    second = await puller(NAME)
    assert (second.version, puller.store.current("tiny-GGUF")) == ("v2", "v2")
    assert puller.content(second, FILE) == gguf(60_000, seed=1)
    again = await puller(f"{NAME}@{first.source.revision}")
    assert (again.version, puller.store.current("tiny-GGUF")) == ("v1", "v1")


async def test_a_pinned_version_stays_current(hub: HubServer, puller: Puller) -> None:
    await puller(NAME)
    puller.store.pin("tiny-GGUF")
    hub.add(NAME, {FILE: gguf(60_000, seed=1)})
    second = await puller(NAME)
    assert (second.version, puller.store.current("tiny-GGUF")) == ("v2", "v1")
    assert any("v1, which is pinned" in note.text for note in puller.heard(Note))


async def test_main_that_moves_in_the_middle_changes_nothing(hub: HubServer, puller: Puller) -> None:
    names = [f"tiny-Q4_K_M-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
    parts = {name: gguf(20_000, seed=place, split=(place, 3)) for place, name in enumerate(names)}
    commit = hub.add("acme/split", dict(parts))
    hub.faults.append(Fault("move", path="*00001-of*", repo="acme/split", files=dict.fromkeys(names, "another")))
    version = await puller("acme/split", patience=Patience(at_once=1))
    assert version.source.revision == commit != hub.repository("acme/split").look()
    assert {name: puller.content(version, name) for name in names} == parts
    assert puller.store.model_path(version, version.artefacts[0]).name == names[0]


@pytest.mark.parametrize("after", [0, 1, 100_000])
async def test_a_cut_connection_is_continued(hub: HubServer, puller: Puller, after: int) -> None:
    hub.faults += [Fault("cut", path="*.gguf", after=after), Fault("cut", path="*.gguf", after=after)]
    version = await puller(NAME)
    assert puller.content(version, FILE) == WEIGHTS
    ranges = [seen.range for seen in hub.seen if seen.storage]
    assert ranges == [None, *(f"bytes={after * times}-" if after else None for times in (1, 2))]
    assert len(puller.heard(Again)) == 2


async def test_a_server_without_ranges_starts_anew(hub: HubServer, puller: Puller) -> None:
    hub.faults += [Fault("cut", path="*.gguf", after=100_000), Fault("whole", path="*.gguf")]
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert [seen.status for seen in hub.seen if seen.storage] == [200, 200]


async def test_a_range_that_is_refused_starts_anew(hub: HubServer, puller: Puller) -> None:
    hub.faults += [Fault("cut", path="*.gguf", after=100_000), Fault("unsatisfiable", path="*.gguf")]
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert [seen.status for seen in hub.seen if seen.storage] == [200, 416, 200]


async def test_silence_is_tried_again(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("stall", path="*.gguf", after=100_000))
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert "nothing came" in puller.heard(Again)[0].why


async def test_throttling_is_obeyed(hub: HubServer, puller: Puller) -> None:
    hub.faults += [
        Fault("status", path="api", status=429, retry_after=0.01),
        Fault("status", path="*.gguf", status=429, retry_after=0.05),
        Fault("status", path="*.gguf", status=503),
    ]
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert puller.heard(Again)[0].pause == 0.05


async def test_who_wants_us_to_wait_for_hours_is_told(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("status", path="*.gguf", status=429, retry_after=7200))
    error = await refused(puller)
    assert (error.code, error.retry_after) == ("rate_limited", 7200)
    assert "120 minutes" in error.message


async def test_a_server_that_never_gets_well_is_given_up_and_continued_later(hub: HubServer, puller: Puller) -> None:
    hub.faults += [Fault("cut", path="*.gguf", after=100_000), Fault("status", path="*.gguf", times=10)]
    error = await refused(puller)
    assert error.code == "download_failed"
    assert "goes on at byte 100,000" in (error.hint or "")
    assert puller.partials == [100_000]
    hub.faults.clear()
    hub.seen.clear()
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert [seen.range for seen in hub.seen if seen.storage] == ["bytes=100000-"]


async def test_what_was_left_of_another_attempt_may_be_wrong(hub: HubServer, puller: Puller) -> None:
    hub.faults = [Fault("cut", path="*.gguf", after=90_000), Fault("status", path="*.gguf", times=10)]
    await refused(puller)
    (left,) = [path for path in puller.store.places.partial.iterdir() if path.is_file()]
    left.write_bytes(b"x" * left.stat().st_size)
    hub.faults.clear()
    assert puller.content(await puller(NAME), FILE) == WEIGHTS


async def test_a_wrong_byte_never_gets_in(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("wrong", path="*.gguf", after=1234, times=99))
    error = await refused(puller)
    assert error.code == "wrong_hash"
    assert error.message.startswith(FILE)
    assert hashlib.sha256(WEIGHTS).hexdigest() in error.message
    assert (puller.store.names(), puller.partials) == ([], [])


async def test_a_wrong_small_file_never_gets_in(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("wrong", path="README.md", after=3, times=99))
    error = await refused(puller)
    assert error.code == "wrong_hash"
    assert "README.md" in error.message
    assert puller.store.names() == []


@pytest.mark.parametrize(("kind", "code"), [("size", "wrong_size"), ("hash", "wrong_hash")])
async def test_a_hub_that_lies(hub: HubServer, puller: Puller, kind: str, code: str) -> None:
    hub.faults.append(Fault(kind, path="*.gguf"))  # type: ignore[arg-type]
    assert (await refused(puller)).code == code
    assert puller.store.names() == []


async def test_a_mirror_that_leaves_out_sizes_and_checksums(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("bare"))
    version = await puller(NAME)
    assert puller.content(version, FILE) == WEIGHTS
    assert puller.content(version, "README.md") == CARD


async def test_a_pull_that_waits_for_another_can_be_cancelled(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("stall", path="*.gguf", after=100_000))
    first = asyncio.create_task(puller(NAME, patience=Patience(stall=60)))
    other = Puller(puller.store.root)
    while not any(seen.storage for seen in hub.seen):
        await asyncio.sleep(0.01)
    second = asyncio.create_task(other(NAME))
    while not other.heard(Shared):
        await asyncio.sleep(0.01)
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert puller.content(await asyncio.wait_for(puller(NAME), 20), FILE) == WEIGHTS


async def test_what_an_earlier_pull_brought_is_known_without_a_hub(hub: HubServer, puller: Puller) -> None:
    assert pulled(NAME, puller.store) is None
    version = await puller(f"{NAME}@main")
    hub.seen.clear()
    for reference in (NAME, f"{NAME}@main", f"{NAME}:q4_k_m", f"{NAME}@{version.source.revision}", f"{NAME}:{FILE}"):
        assert pulled(reference, puller.store) == version
    for reference in (f"{NAME}:Q8_0", f"{NAME}@v1.0", "other/tiny-GGUF", "ollama:tiny-GGUF"):
        assert pulled(reference, puller.store) is None
    assert hub.seen == []


async def test_a_token_goes_to_the_hub_and_to_nobody_else(
    hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.tokens[TOKEN] = {NAME}
    hub.repository(NAME).gated = "manual"
    await puller(NAME)
    assert {seen.authorized for seen in hub.seen if seen.storage} == {False}
    assert {seen.authorized for seen in hub.seen if not seen.storage} == {True}


async def test_a_gated_repository_is_explained(hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repository(NAME).gated = "manual"
    error = await refused(puller)
    assert error.code == "gated"
    assert f"{hub.url}/{NAME}" in (error.hint or "")
    assert "HF_TOKEN" in (error.hint or "")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.tokens[TOKEN] = set()
    error = await refused(puller)
    assert "ask for access" in (error.hint or "")
    assert TOKEN not in error.text
    assert not [seen for seen in hub.seen if seen.storage]


async def test_what_is_not_there_is_explained(hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    error = await refused(puller, "acme/none")
    assert (error.code, "HF_TOKEN" in (error.hint or "")) == ("no_such_repository", True)
    error = await refused(puller, f"{NAME}@v9")
    assert (error.code, error.hint) == ("no_such_revision", "it has main")
    error = await refused(puller, f"{NAME}:Q8_0")
    assert (error.code, error.hint) == ("no_such_quantisation", "it has Q4_K_M")
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_known_token")
    assert (await refused(puller, "acme/none")).code == "no_such_repository"


async def test_a_login_page_is_no_hub(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("garbage", path="api"))
    error = await refused(puller)
    assert (error.code, "HF_ENDPOINT" in (error.hint or "")) == ("hub_broken", True)


async def test_nobody_listens(puller: Puller, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    error = await refused(puller)
    assert error.code == "hub_unreachable"
    monkeypatch.setenv("HF_ENDPOINT", "not an address")
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        await puller(NAME)


async def test_offline_means_offline(hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = await refused(puller)
    assert error.code == "offline"
    assert hub.seen == []


async def test_pickles_and_foreign_code_are_refused_before_the_weights(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/pickled", {"config.json": config(), "pytorch_model.bin": b"\x80\x04evil"})
    assert (await refused(puller, "acme/pickled")).code == "pickle_refused"
    mapped = config(auto_map={"AutoModelForCausalLM": "modeling_novel.NovelForCausalLM"})
    hub.add(
        "acme/coded", {"config.json": mapped, "modeling_novel.py": b"import os", "model.safetensors": safetensors()}
    )
    error = await refused(puller, "acme/coded")
    assert error.code == "remote_code_refused"
    assert "--remote-code" in (error.hint or "")
    assert not [seen for seen in hub.seen if seen.storage]
    version = await puller("acme/coded", remote_code=True)
    assert version.remote_code
    assert puller.content(version, "modeling_novel.py") == b"import os"


async def test_names_that_lead_out_of_the_store_are_refused(hub: HubServer, puller: Puller) -> None:
    repository = hub.repository(NAME)
    tree = repository.commits[repository.head]
    for name in ("../../evil-Q8_0.gguf", "a/.hidden/evil-Q8_0.gguf"):
        repository.commits[repository.head] = {name: tree[FILE]}
        assert (await refused(puller, f"{NAME}@{repository.head}")).code == "bad_file_name"


async def test_a_file_that_is_no_gguf_never_gets_in(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/fake", {"fake-Q8_0.gguf": b"GGUF but not really" * 100})
    assert (await refused(puller, "acme/fake")).code == "bad_weights"
    assert puller.store.names() == []


async def test_a_projector_comes_along(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/seeing", {"seeing-Q8_0.gguf": gguf(), "mmproj-F16.gguf": gguf(100), "mmproj-F32.gguf": gguf(200)})
    version = await puller("acme/seeing")
    assert version.projector is not None
    assert list(version.projector.files) == ["mmproj-F16.gguf"]
    assert puller.store.choose(version).quantisation == "Q8_0"


async def test_another_quantisation_of_the_same_commit_joins_the_version(hub: HubServer, puller: Puller) -> None:
    hub.add(NAME, {"tiny-Q8_0.gguf": gguf(60_000, seed=8)})
    first = await puller(f"{NAME}:Q4_K_M")
    second = await puller(f"{NAME}:q8_0")
    assert (first.version, second.version) == ("v1", "v1")
    assert sorted(one.quantisation for one in second.artefacts) == ["Q4_K_M", "Q8_0"]


async def test_another_revision_at_the_same_commit_is_known_afterwards(hub: HubServer, puller: Puller) -> None:
    version = await puller(NAME)
    revision = version.source.revision
    assert pulled(f"{NAME}@main", puller.store) is None, "nobody has asked yet what main is"
    again = await puller(f"{NAME}@main")
    assert (again.version, again.source.revision) == ("v1", revision)
    assert pulled(f"{NAME}@main", puller.store) == again == await puller(f"{NAME}@main")
    assert again.also == (f"{NAME}@main",)


async def test_safetensors_of_an_unknown_family_stay_what_they_are(hub: HubServer, puller: Puller) -> None:
    kept = {"config.json": config(), "model.safetensors": safetensors(), "tokenizer.json": b"{}"}
    hub.add("acme/novel", {**kept, "pytorch_model.bin": b"pickle", "modeling.py": b"code", "onnx/model.onnx": b"x"})
    version = await puller("acme/novel")
    (artefact,) = version.artefacts
    assert set(artefact.files) == set(kept)
    assert any("NovelForCausalLM cannot be converted" in note.text for note in puller.heard(Note))
    hub.seen.clear()
    assert await puller("acme/novel") == version


async def test_the_estimate_comes_before_the_download(hub: HubServer, puller: Puller) -> None:
    hub.add(NAME, {"tiny-Q8_0.gguf": gguf(120_000)})
    await puller(NAME)
    (planning,) = puller.heard(Planning)
    assert puller.told.index(planning) < puller.told.index(puller.heard(Opened)[0])
    assert (planning.estimate.size, planning.estimate.missing) == (len(WEIGHTS) + len(CARD),) * 2
    rows = {row.quantisation: row for row in planning.estimate.rows}
    assert rows["Q4_K_M"].chosen
    assert rows["Q4_K_M"].weights == len(WEIGHTS)
    assert rows["Q8_0"].memory > rows["Q4_K_M"].memory > len(WEIGHTS)


async def test_a_full_disk_is_seen_before_the_download(
    hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.own.weights.plan.MARGIN", 1 << 60)
    error = await refused(puller)
    assert error.code == "disk_full"
    assert "FREEHOLD_HOME" in (error.hint or "")
    assert not [seen for seen in hub.seen if seen.storage]


async def test_a_disk_that_fills_up_in_the_middle(
    hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size + len(data) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    error = await refused(puller)
    assert error.code == "disk_full"
    assert puller.store.names() == []
    monkeypatch.setattr(os, "write", real)
    assert puller.content(await puller(NAME), FILE) == WEIGHTS


async def test_two_pulls_at_once_fetch_the_weights_once(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("slow", path="*.gguf", rate=1 << 20))
    other = Puller(puller.store.root)
    first, second = await asyncio.gather(puller(NAME), other(NAME))
    assert first == second
    assert len([seen for seen in hub.seen if seen.storage]) == 1


async def test_cancelled_and_continued(hub: HubServer, puller: Puller) -> None:
    hub.faults.append(Fault("stall", path="*.gguf", after=100_000))
    task = asyncio.create_task(puller(NAME, patience=Patience(stall=60)))
    while not puller.partials or puller.partials[-1] < 1:
        await asyncio.sleep(0.01)
        if any(seen.storage for seen in hub.seen):
            break
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert puller.partials == [100_000]
    assert puller.content(await puller(NAME), FILE) == WEIGHTS
    assert [seen.range for seen in hub.seen if seen.storage] == [None, "bytes=100000-"]


PULL = """
import asyncio, resource, sys
from pathlib import Path
from freehold.own.weights.pull import pull
from freehold.own.weights.store import Store
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
print(asyncio.run(pull(sys.argv[1], Store(Path(sys.argv[2])), check=False)).full_name)
"""


def child(puller: Puller, *more: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", PULL, NAME, str(puller.store.root), *more]
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "HF_HOME": "/nonexistent"})


async def test_a_killed_pull_is_continued(hub: HubServer, puller: Puller) -> None:
    large = gguf(1_200_000)
    hub.add(NAME, {FILE: large})
    hub.faults.append(Fault("stall", path="*.gguf", after=3 << 20))
    process = child(puller)
    while not puller.partials or puller.partials[-1] < 2 << 20:
        assert process.poll() is None
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hub.seen.clear()
    there = puller.partials[-1]
    assert puller.content(await puller(NAME), FILE) == large
    assert [seen.range for seen in hub.seen if seen.storage] == [f"bytes={there}-"]


async def test_a_file_size_limit_is_a_full_disk(hub: HubServer, puller: Puller) -> None:
    process = child(puller, "100000")
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 1
    assert "no room on the disk" in said
    assert puller.store.names() == []
    assert puller.content(await puller(NAME), FILE) == WEIGHTS


async def test_the_plan_of_a_revision(hub: HubServer) -> None:
    hub.repository(NAME).tags["v1"] = hub.repository(NAME).head
    plan = await client.plan(parse(f"{NAME}@v1"), patience=QUICK)
    assert plan.source.revision == hub.repository(NAME).head
    assert re.search(r"/resolve/[0-9a-f]{40}/", plan.files[0].remote.url)


async def test_licences_with_conditions_are_told(hub: HubServer, puller: Puller) -> None:
    card = b"---\nlicense: other\nlicense_name: own-terms\nlicense_link: https://example.org/terms\n---\n"
    hub.add(NAME, {"README.md": card})
    version = await puller(NAME)
    assert version.licence == "own-terms"
    assert any("https://example.org/terms" in note.text for note in puller.heard(Note))


async def test_every_file_is_told_to_be_finished(hub: HubServer, puller: Puller) -> None:
    await puller(NAME)
    assert {event.name for event in puller.heard(Finished)} == {FILE, "README.md"}
