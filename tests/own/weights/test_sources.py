"""Pulling from a URL, an Ollama registry, a folder and a file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hub_files import CARD, config, gguf, safetensors
from pulling import Puller, hub_for

from freehold.cli.pull import _sentence
from freehold.errors import ConfigError, EngineError
from freehold.fake.hub import Fault, HubServer
from freehold.own.weights.events import Note
from freehold.own.weights.pull import pulled
from freehold.own.weights.reference import parse
from freehold.own.weights.remote import redirected, waiting
from freehold.own.weights.types import Source

WEIGHTS = gguf(60_000)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_for(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "models")


async def refused(puller: Puller, reference: str, **more: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await puller(reference, **more)
    return caught.value


# A URL


@pytest.fixture
def url(hub: HubServer) -> str:
    """A plain address of a file, without a hub's knowledge of it."""
    hub.add("files/here", {"tiny-Q8_0.gguf": WEIGHTS})
    return f"{hub.url}/files/here/resolve/main"


async def test_a_url(hub: HubServer, puller: Puller, url: str) -> None:
    version = await puller(f"{url}/tiny-Q8_0.gguf")
    assert version.full_name == "tiny-Q8_0@v1"
    assert (version.source.kind, version.source.reference) == ("url", f"{url}/tiny-Q8_0.gguf")
    assert puller.content(version, "tiny-Q8_0.gguf") == WEIGHTS
    hub.seen.clear()
    assert await puller(f"{url}/tiny-Q8_0.gguf") == version
    assert {seen.method for seen in hub.seen} == {"HEAD"}


async def test_a_url_with_its_hash(puller: Puller, url: str) -> None:
    right = hashlib.sha256(WEIGHTS).hexdigest()
    assert puller.content(await puller(f"{url}/tiny-Q8_0.gguf#sha256={right}"), "tiny-Q8_0.gguf") == WEIGHTS
    error = await refused(puller, f"{url}/tiny-Q8_0.gguf#sha256={'0' * 64}", name="other")
    assert error.code == "wrong_hash"
    assert "other" not in puller.store.names()


async def test_a_url_that_is_cut_goes_on_while_the_file_is_the_same(hub: HubServer, puller: Puller) -> None:
    """Served as a small file is: by the hub itself, whose entity tag says whether it still is the same."""
    hub.add("files/here", {"tiny-Q8_0.gguf": WEIGHTS})
    folder = hub.folder / ".ollama" / "library" / "tiny" / "q8_0"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(WEIGHTS)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    plain = f"{hub.storage_url}/storage/{digest}/tiny-Q8_0.gguf"
    hub.repository("files/here")
    hub.faults += [Fault("cut", path="*.gguf", after=100_000), Fault("status", path="*.gguf", times=10)]
    assert (await refused(puller, plain)).code == "download_failed"
    hub.faults.clear()
    hub.seen.clear()
    version = await puller(plain)
    assert puller.content(version, "tiny-Q8_0.gguf") == WEIGHTS
    assert [seen.range for seen in hub.seen if seen.method == "GET"] == ["bytes=100000-"]
    assert any("nobody says what hash" in note.text for note in puller.heard(Note))


async def test_a_url_whose_file_changes_is_another_version(hub: HubServer, puller: Puller, url: str) -> None:
    await puller(f"{url}/tiny-Q8_0.gguf")
    hub.add("files/here", {"tiny-Q8_0.gguf": gguf(60_000, seed=1)})
    version = await puller(f"{url}/tiny-Q8_0.gguf")
    assert version.version == "v2"
    assert puller.content(version, "tiny-Q8_0.gguf") == gguf(60_000, seed=1)


async def test_all_parts_of_a_split_url(hub: HubServer, puller: Puller) -> None:
    parts = {f"m-Q4_0-0000{place + 1}-of-00002.gguf": gguf(seed=place, split=(place, 2)) for place in (0, 1)}
    hub.add("files/split", dict(parts))
    version = await puller(f"{hub.url}/files/split/resolve/main/m-Q4_0-00002-of-00002.gguf")
    assert version.name == "m-Q4_0"
    assert {name: puller.content(version, name) for name in parts} == parts


async def test_a_url_of_safetensors_brings_what_stands_beside(hub: HubServer, puller: Puller) -> None:
    hub.add("files/st", {"model.safetensors": safetensors(), "config.json": config(), "README.md": CARD})
    version = await puller(f"{hub.url}/files/st/resolve/main/model.safetensors", name="novel")
    assert set(version.artefacts[0].files) == {"model.safetensors", "config.json", "README.md"}
    assert version.licence == "apache-2.0"
    hub.add("files/alone", {"model.safetensors": safetensors()})
    error = await refused(puller, f"{hub.url}/files/alone/resolve/main/model.safetensors")
    assert error.code == "no_weights"


async def test_urls_that_do_not_work(hub: HubServer, puller: Puller, url: str) -> None:
    assert (await refused(puller, f"{url}/none.gguf")).code == "no_such_file"
    assert (await refused(puller, "http://127.0.0.1:1/none.gguf")).code == "hub_unreachable"
    hub.repository("files/here").private = True
    error = await refused(puller, f"{url}/tiny-Q8_0.gguf?token=secret")
    assert error.code == "gated"
    assert "secret" not in error.text
    with pytest.raises(ConfigError):
        await puller(f"{hub.url}/pytorch_model.bin")


def test_no_redirect_leaves_https() -> None:
    assert redirected("https://a/b/c", "../d") == "https://a/d"
    assert redirected("http://a/b", "https://c/d") == "https://c/d"
    for location in ("http://a/b", "ftp://a/b", "file:///etc/passwd"):
        with pytest.raises(EngineError, match="redirects from https"):
            redirected("https://a/b", location)


def test_how_long_an_answer_asks_us_to_wait() -> None:
    assert waiting({"retry-after": "3"}) == 3
    assert waiting({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert waiting({"ratelimit": '"api";r=0;t=55'}) == 56
    assert waiting({"ratelimit": '"api";r=9;t=55'}) is None
    for nonsense in ("", "soon", "-3", "1e9999", "\x00", "٣"):
        assert waiting({"retry-after": nonsense}) in (None, 0)
    with pytest.raises(EngineError) as caught:
        waiting({"retry-after": "99999"})
    assert caught.value.code == "rate_limited"


# An Ollama registry


def layers(hub: HubServer, name: str, **files: bytes) -> Path:
    folder = hub.folder / ".ollama" / name
    folder.mkdir(parents=True, exist_ok=True)
    for layer, content in files.items():
        (folder / (layer + ".gguf" if layer in ("model", "projector", "adapter") else layer)).write_bytes(content)
    return folder


async def test_an_ollama_model(hub: HubServer, puller: Puller) -> None:
    layers(hub, "library/tiny/1b-q4_K_M", model=WEIGHTS, projector=gguf(99), template=b"{{ }}", params=b"{}",
           license=b"\n  Own Licence 2.0\nAll of it.")  # fmt: skip
    version = await puller("ollama:tiny:1b-q4_K_M")
    assert version.full_name == "tiny@v1"
    assert version.source.revision.startswith("sha256:")
    assert version.licence == "Own Licence 2.0"
    assert puller.store.choose(version).quantisation == "Q4_K_M"
    assert puller.content(version, "model.gguf") == WEIGHTS
    assert version.projector is not None
    assert any("template, params are not used" in note.text for note in puller.heard(Note))
    hub.seen.clear()
    assert await puller("ollama:tiny:1b-q4_K_M") == version
    assert not [seen for seen in hub.seen if seen.storage and "blobs" in seen.path and seen.range]


async def test_a_wrong_layer_never_gets_in(hub: HubServer, puller: Puller) -> None:
    layers(hub, "library/tiny/latest", model=WEIGHTS)
    hub.faults.append(Fault("wrong", path="model.gguf", after=5, times=9))
    assert (await refused(puller, "ollama:tiny")).code == "wrong_hash"
    assert puller.store.names() == []


async def test_an_interrupted_layer_goes_on(hub: HubServer, puller: Puller) -> None:
    layers(hub, "somebody/tiny/latest", model=WEIGHTS)
    hub.faults.append(Fault("cut", path="model.gguf", after=100_000))
    assert puller.content(await puller("ollama:somebody/tiny"), "model.gguf") == WEIGHTS
    assert [seen.range for seen in hub.seen if seen.storage] == [None, "bytes=100000-"]


async def test_ollama_models_that_cannot_be_used(
    hub: HubServer, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await refused(puller, "ollama:none")).code == "no_such_repository"
    layers(hub, "library/lora/latest", model=WEIGHTS, adapter=gguf(50))
    assert "adapter" in (await refused(puller, "ollama:lora")).message
    layers(hub, "library/cloud/latest", license=b"x")
    assert (await refused(puller, "ollama:cloud")).code == "no_weights"
    layers(hub, "library/broken/latest", model=WEIGHTS)
    hub.faults.append(Fault("garbage", path="manifest"))
    hub.faults.append(Fault("garbage", path="api"))
    assert (await refused(puller, "ollama:broken")).code == "hub_broken"
    monkeypatch.setenv("OLLAMA_REGISTRY", "nowhere")
    with pytest.raises(ConfigError, match="OLLAMA_REGISTRY"):
        await puller("ollama:tiny")


# This machine


async def test_a_file(tmp_path: Path, puller: Puller) -> None:
    path = tmp_path / "mine-Q5_K_M.gguf"
    path.write_bytes(WEIGHTS)
    version = await puller(str(path))
    assert version.full_name == "mine-Q5_K_M@v1"
    assert puller.content(version, path.name) == WEIGHTS
    assert await puller(str(path)) == version
    path.write_bytes(gguf(60_000, seed=2))
    assert (await puller(str(path))).version == "v2"
    assert puller.content(version, path.name) == WEIGHTS


async def test_a_split_file_needs_all_parts(tmp_path: Path, puller: Puller) -> None:
    paths = [tmp_path / f"m-0000{place}-of-00002.gguf" for place in (1, 2)]
    paths[0].write_bytes(gguf(split=(0, 2)))
    assert (await refused(puller, str(paths[0]))).code == "no_weights"
    paths[1].write_bytes(gguf(split=(1, 2), seed=1))
    assert len((await puller(str(paths[1]))).artefacts[0].files) == 2


async def test_a_folder(tmp_path: Path, puller: Puller) -> None:
    folder = tmp_path / "novel"
    folder.mkdir()
    for name, content in {"config.json": config(), "model.safetensors": safetensors(), "README.md": CARD}.items():
        (folder / name).write_bytes(content)
    (folder / ".git").mkdir()
    (folder / ".git" / "x.safetensors").write_bytes(b"not this")
    version = await puller(f"{folder}/")
    assert (version.name, version.licence) == ("novel", "apache-2.0")
    assert set(version.artefacts[0].files) == {"config.json", "model.safetensors", "README.md"}
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    assert (await refused(puller, str(folder))).code == "bad_weights"
    assert puller.store.current("novel") == "v1"


# Secrets in addresses

SECRET = "s3cr3t-signature"


async def test_a_signed_url_is_used_and_never_kept_nor_told(
    hub: HubServer, puller: Puller, url: str, tmp_path: Path
) -> None:
    signed = f"{url}/tiny-Q8_0.gguf?X-Amz-Signature={SECRET}"
    version = await puller(signed)
    assert any(SECRET in seen.path for seen in hub.seen), "the signature was not sent"
    assert version.source.reference == f"{url}/tiny-Q8_0.gguf"
    said = [sentence for event in puller.told if (sentence := _sentence(event))]
    assert any("tiny-Q8_0.gguf" in sentence for sentence in said)
    assert SECRET not in "\n".join(said)
    kept = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    assert pulled(signed, puller.store) == version
    assert pulled(f"{url}/tiny-Q8_0.gguf?X-Amz-Signature=another", puller.store) == version
    error = await refused(puller, f"{url}/gone-Q8_0.gguf?X-Amz-Signature={SECRET}")
    assert SECRET not in f"{error.text} {error!r}"


@pytest.mark.parametrize(
    "text",
    [
        f"http://files.example/x.gguf?sig={SECRET}",
        f"https://files.example/x.zip?sig={SECRET}",
        f"https://user:{SECRET}@files.example/x.gguf",
        f"https://user:{SECRET}@huggingface.co/o",
        f"https://user:{SECRET}/x@files.example/x.gguf",
        f"https://user:{SECRET}?x@files.example/x.gguf",
        f"ftp://user:{SECRET}@files.example/x.gguf",
        f"https://huggingface.co/one?token={SECRET}",
        f"hf.co/one?token={SECRET}",
        f"https://files.example:0/x.gguf?sig={SECRET}",
    ],
)
def test_no_mistake_in_an_address_repeats_its_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_a_record_drops_what_an_older_one_kept() -> None:
    old = {"kind": "url", "reference": f"https://a:{SECRET}@x.example/y.gguf?s={SECRET}#sha256=0", "endpoint": None}
    found = msgspec.convert(old, Source)
    assert found.reference == "https://x.example/y.gguf#sha256=0"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Source) == found
    assert (
        Source("hub", "o/n@main:Q4_K_M", None, f"https://a:{SECRET}@mirror.example").endpoint
        == "https://mirror.example"
    )
    assert Source("folder", "/tmp/what?.d/x").reference == "/tmp/what?.d/x"


@pytest.mark.parametrize(("variable", "reference"), [("HF_ENDPOINT", "o/n"), ("OLLAMA_REGISTRY", "ollama:n")])
async def test_a_hub_address_with_a_password(
    hub: HubServer, puller: Puller, variable: str, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"https://me:{SECRET}@mirror.example/hub")
    with pytest.raises(ConfigError) as caught:
        await puller(reference)
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert f"{variable}=https://mirror.example" in (caught.value.hint or "")


def test_a_redirect_with_a_password_is_not_repeated() -> None:
    with pytest.raises(EngineError) as caught:
        redirected(f"https://me:{SECRET}@a.example/x", "http://b.example/")
    assert SECRET not in caught.value.text
