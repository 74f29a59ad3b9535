"""The fake hub against the official client, unmodified: what works there must work here, and fail in the same way."""

import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_files import CARD, config, gguf, safetensors

from freehold.errors import ConfigError
from freehold.fake.hub import Fault, HubServer

huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'freehold[own]'")
from huggingface_hub import constants, errors  # noqa: E402

NAME = "acme/tiny"
FILES = {
    "README.md": CARD,
    "config.json": config(),
    "model.safetensors": safetensors(50_000),
    "sub/vocab.txt": b"a\nb\n",
}
TOKEN = "hf_0123456789abcdef"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in {
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    (tmp_path / "hub").mkdir()
    with HubServer(tmp_path / "hub") as running:
        running.add(NAME, dict(FILES))
        yield running


def api(hub: HubServer, token: str | bool = False) -> Any:
    return huggingface_hub.HfApi(endpoint=hub.url, token=token)


def download(hub: HubServer, name: str, tmp_path: Path, **more: Any) -> bytes:
    more = {"token": False, "local_dir": tmp_path / "got", **more}
    return Path(huggingface_hub.hf_hub_download(NAME, name, endpoint=hub.url, **more)).read_bytes()


def test_model_info_tells_files_with_checksums(hub: HubServer) -> None:
    info = api(hub).model_info(NAME, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    assert set(files) == set(FILES)
    weights = FILES["model.safetensors"]
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(weights).hexdigest()
    assert files["model.safetensors"].size == len(weights)
    assert files["config.json"].blob_id == hashlib.sha1(b"blob %d\0" % len(config()) + config()).hexdigest()
    assert info.card_data.license == "apache-2.0"
    assert info.safetensors.total == 50_000
    assert len(info.sha) == 40


def test_the_tree_the_paths_and_the_branches(hub: HubServer) -> None:
    tree = list(api(hub).list_repo_tree(NAME, recursive=True))
    assert {entry.path for entry in tree} == {*FILES, "sub"}
    assert [one.path for one in api(hub).list_repo_tree(NAME, "sub")] == ["sub/vocab.txt"]
    (found,) = api(hub).get_paths_info(NAME, ["config.json", "not there"])
    assert found.size == len(config())
    refs = api(hub).list_repo_refs(NAME)
    assert [(one.name, one.target_commit) for one in refs.branches] == [("main", api(hub).model_info(NAME).sha)]
    assert [one.id for one in api(hub).list_models(search="TIN")] == [NAME]


def test_a_tree_of_more_than_one_page(hub: HubServer) -> None:
    hub.add("acme/many", {f"f{number:04}.txt": b"x" for number in range(1100)})
    assert len(list(api(hub).list_repo_tree("acme/many"))) == 1100


def test_a_snapshot_is_the_repository(hub: HubServer, tmp_path: Path) -> None:
    folder = Path(huggingface_hub.snapshot_download(NAME, endpoint=hub.url, token=False))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(FILES)
    assert all((folder / name).read_bytes() == content for name, content in FILES.items())


def test_weights_come_from_a_storage_that_sees_no_token(hub: HubServer, tmp_path: Path) -> None:
    hub.tokens[TOKEN] = {"*"}
    assert download(hub, "model.safetensors", tmp_path, token=TOKEN) == FILES["model.safetensors"]
    assert download(hub, "config.json", tmp_path, token=TOKEN) == FILES["config.json"]
    storage = [seen for seen in hub.seen if seen.storage]
    assert [seen.authorized for seen in storage] == [False]
    assert all(seen.authorized for seen in hub.seen if not seen.storage)


def test_what_is_missing_is_missing_in_the_official_way(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(errors.RepositoryNotFoundError) as missing:
        api(hub).model_info("acme/none")
    assert missing.value.response.status_code == 401
    hub.tokens[TOKEN] = set()
    with pytest.raises(errors.RepositoryNotFoundError) as missing:
        api(hub, TOKEN).model_info("acme/none")
    assert missing.value.response.status_code == 404
    with pytest.raises(errors.RevisionNotFoundError):
        api(hub).model_info(NAME, revision="v9")
    with pytest.raises(errors.EntryNotFoundError):
        download(hub, "none.json", tmp_path)


def test_gated_and_private_repositories(hub: HubServer, tmp_path: Path) -> None:
    repository = hub.repository(NAME)
    assert repository is not None
    repository.gated = "manual"
    assert api(hub).model_info(NAME).gated == "manual"
    for token in (False, TOKEN):
        with pytest.raises(errors.GatedRepoError):
            huggingface_hub.get_hf_file_metadata(
                huggingface_hub.hf_hub_url(NAME, "model.safetensors", endpoint=hub.url), token=token
            )
        hub.tokens[TOKEN] = set()
    hub.tokens[TOKEN] = {NAME}
    assert download(hub, "config.json", tmp_path, token=TOKEN) == FILES["config.json"]
    repository.private = True
    with pytest.raises(errors.RepositoryNotFoundError):
        api(hub).model_info(NAME)
    assert api(hub, TOKEN).model_info(NAME).private


def test_a_commit_stays_what_it_was_when_main_moves(hub: HubServer, tmp_path: Path) -> None:
    before = api(hub).model_info(NAME).sha
    after = hub.add(NAME, {"config.json": config("Another"), "sub/vocab.txt": None})
    assert api(hub).model_info(NAME).sha == after != before
    assert download(hub, "config.json", tmp_path, revision=before) == config()
    assert download(hub, "config.json", tmp_path, revision="main") == config("Another")
    assert {one.path for one in api(hub).list_repo_tree(NAME, "sub", revision=before)} == {"sub/vocab.txt"}


def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read(), {key.lower(): value for key, value in response.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {key.lower(): value for key, value in error.headers.items()}


def test_byte_ranges(hub: HubServer) -> None:
    url, weights = f"{hub.url}/{NAME}/resolve/main/model.safetensors", FILES["model.safetensors"]
    status, body, headers = get(url, Range="bytes=100-")
    assert (status, body) == (206, weights[100:])
    assert headers["content-range"] == f"bytes 100-{len(weights) - 1}/{len(weights)}"
    assert get(url, Range="bytes=5-9")[:2] == (206, weights[5:10])
    assert get(url, Range="bytes=-4")[:2] == (206, weights[-4:])
    assert get(url, Range="bytes=0-", **{"If-Range": '"another"'})[:2] == (200, weights)
    status, body, headers = get(url, Range=f"bytes={len(weights)}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(weights)}")


def test_the_official_client_survives_a_cut_connection(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(Fault("cut", path="*.safetensors", after=70_000))
    assert download(hub, "model.safetensors", tmp_path) == FILES["model.safetensors"]


def test_lies_are_told(hub: HubServer) -> None:
    hub.faults += [
        Fault("size", path="*.safetensors"),
        Fault("hash", path="*.safetensors"),
        Fault("bare", path="*.json"),
    ]
    files = {one.rfilename: one for one in api(hub).model_info(NAME, files_metadata=True).siblings}
    assert files["model.safetensors"].lfs.size == len(FILES["model.safetensors"]) + 1
    assert files["model.safetensors"].lfs.sha256 == "0" * 64
    assert (files["config.json"].size, files["config.json"].blob_id) == (None, None)


def test_status_retry_after_and_garbage(hub: HubServer) -> None:
    url = f"{hub.url}/{NAME}/resolve/main/config.json"
    hub.faults += [Fault("status", path="config.json", status=429, retry_after=7), Fault("garbage", path="api")]
    status, _, headers = get(url)
    assert (status, headers["retry-after"]) == (429, "7")
    assert get(url)[:2] == (200, FILES["config.json"])
    assert b"<html>" in get(f"{hub.url}/api/models/{NAME}")[1]
    assert json.loads(get(f"{hub.url}/api/models/{NAME}")[1])["id"] == NAME


def test_an_ollama_model(hub: HubServer) -> None:
    folder = hub.folder / ".ollama" / "library" / "tiny" / "1b"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(gguf())
    (folder / "template").write_text("{{ .Prompt }}")
    status, body, headers = get(f"{hub.url}/v2/library/tiny/manifests/1b")
    manifest = json.loads(body)
    assert headers["docker-content-digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert [one["mediaType"].rpartition(".")[2] for one in manifest["layers"]] == ["model", "template"]
    for layer in (manifest["config"], *manifest["layers"]):
        blob = get(f"{hub.url}/v2/library/tiny/blobs/{layer['digest']}")[1]
        assert (len(blob), f"sha256:{hashlib.sha256(blob).hexdigest()}") == (layer["size"], layer["digest"])
    assert get(f"{hub.url}/v2/library/tiny/manifests/2b")[0] == 404
    assert hub.names() == [NAME]


def test_settings_for_the_command(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / NAME / "config.json").write_bytes(config())
    settings = {"gated": {NAME: "auto"}, "tokens": {TOKEN: [NAME]}, "tags": {NAME: {"v1": "main"}},
                "faults": [{"kind": "status", "path": "api", "status": 500}]}  # fmt: skip
    (tmp_path / "hub.json").write_text(json.dumps(settings))
    with HubServer(tmp_path) as hub:
        assert get(f"{hub.url}/api/models/{NAME}")[0] == 500
        assert json.loads(get(f"{hub.url}/api/models/{NAME}/revision/v1")[1])["gated"] == "auto"
        assert get(f"{hub.url}/{NAME}/resolve/v1/config.json")[0] == 401
        assert get(f"{hub.url}/{NAME}/resolve/v1/config.json", Authorization=f"Bearer {TOKEN}")[1] == config()
    (tmp_path / "hub.json").write_text('{"gate": {}}')
    with pytest.raises(ConfigError, match=r"hub\.json"):
        HubServer(tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        HubServer(tmp_path / "none")


def test_nothing_outside_the_folder_is_served(hub: HubServer) -> None:
    (hub.folder.parent / "secret").mkdir()
    (hub.folder.parent / "secret" / "config.json").write_bytes(b"secret")
    for path in ("../secret", "%2e%2e/secret", "acme/../../secret"):
        for route in (f"/{path}/resolve/main/config.json", f"/api/models/{path}", f"/v2/{path}/manifests/x"):
            status, body, _ = get(hub.url + route)
            assert status in (401, 404)
            assert b"secret" not in body


def test_a_stalled_answer_ends_with_the_server(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / NAME / "config.json").write_bytes(config())
    code = f"""
import sys, threading, urllib.request
from freehold.fake.hub import Fault, HubServer
hub = HubServer({str(tmp_path)!r}).start()
hub.faults.append(Fault("stall", path="config.json"))
answer = urllib.request.urlopen(hub.url + "/{NAME}/resolve/main/config.json")
threading.Timer(0.1, hub.stop).start()
try:
    print(len(answer.read()))
except Exception as error:
    print(type(error).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert "IncompleteRead" in ended.stdout
