"""What a person may write to name weights, and what the nearest right spelling is of what they may not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.checks_own import pulled_name
from freehold.errors import ConfigError
from freehold.own.weights.reference import parse, quantisation_name

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("text", "repo", "revision", "quantisation"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, None),
        (" Qwen/Qwen3-0.6B ", "Qwen/Qwen3-0.6B", None, None),
        ("hf:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, None),
        ("hf://Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, None),
        ("org/name@v1.0", "org/name", "v1.0", None),
        ("org/name@refs/pr/3:q4_k_m", "org/name", "refs/pr/3", "Q4_K_M"),
        ("org/name-GGUF:UD-Q4_K_XL", "org/name-GGUF", None, "UD-Q4_K_XL"),
        ("org/name-GGUF:sub/model-Q4_0.gguf", "org/name-GGUF", None, "sub/model-Q4_0.gguf"),
        ("hf.co/org/name:Q8_0", "org/name", None, "Q8_0"),
        ("https://huggingface.co/org/name", "org/name", None, None),
        ("https://huggingface.co/org/name/tree/dev", "org/name", "dev", None),
        ("https://huggingface.co/org/name/blob/main/m-Q4_0.gguf", "org/name", "main", "m-Q4_0.gguf"),
        ("https://huggingface.co/org/name/resolve/abc/m.gguf?download=true", "org/name", "abc", "m.gguf"),
    ],
)
def test_repositories(text: str, repo: str, revision: str | None, quantisation: str | None) -> None:
    found = parse(text)
    assert (found.kind, found.repo, found.revision, found.quantisation) == ("hub", repo, revision, quantisation)
    assert found.name == repo.partition("/")[2]


@pytest.mark.parametrize(
    "text", ["org/name", "org/name@main", "org/name@main:Q4_0", "ollama:llama3.2:1b", "org/x.gguf@main"]
)
def test_the_name_is_the_one_the_configuration_gives(text: str) -> None:
    assert parse(text).name == pulled_name(text)


def test_urls() -> None:
    found = parse(f"https://example.test/a/My%20model-00001-of-00002.gguf?x=1#sha256={HASH.upper()}")
    assert (found.kind, found.name, found.sha256) == ("url", "My-model", HASH)
    assert found.url == "https://example.test/a/My%20model-00001-of-00002.gguf?x=1"
    assert parse("https://example.test/a b.gguf").url == "https://example.test/a%20b.gguf"
    assert parse("http://127.0.0.1:8000/x.gguf").url == "http://127.0.0.1:8000/x.gguf"
    assert parse(f"http://example.test/x.safetensors#sha256={HASH}").sha256 == HASH


@pytest.mark.parametrize(
    ("text", "repo", "tag"),
    [
        ("ollama:llama3.2", "library/llama3.2", "latest"),
        ("ollama:llama3.2:1b-instruct-q4_K_M", "library/llama3.2", "1b-instruct-q4_K_M"),
        ("ollama:user/model:tag", "user/model", "tag"),
        ("ollama://llama3.2:1b", "library/llama3.2", "1b"),
    ],
)
def test_ollama(text: str, repo: str, tag: str) -> None:
    found = parse(text)
    assert (found.kind, found.repo, found.tag) == ("ollama", repo, tag)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "My model"
    folder.mkdir()
    (folder / "tiny-Q4_0.gguf").write_bytes(b"GGUF")
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "model.bin").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    monkeypatch.chdir(folder)
    assert (parse(str(folder)).kind, parse(str(folder)).name) == ("folder", "My-model")
    assert parse(".").path == folder
    for text in ("tiny-Q4_0.gguf", "./tiny-Q4_0.gguf"):
        assert (parse(text).kind, parse(text).name, parse(text).path) == (
            "file",
            "tiny-Q4_0",
            folder / "tiny-Q4_0.gguf",
        )
    assert parse("./My model", base=tmp_path).path == folder
    with pytest.raises(ConfigError) as caught:
        parse("./model.safetensors")
    assert caught.value.hint == str(folder)
    with pytest.raises(ConfigError, match="pickle"):
        parse("./model.bin")
    with pytest.raises(ConfigError, match=r"not a \.gguf file"):
        parse("./notes.txt")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "ORG/NAME[@REVISION]"),
        ("llama3", "ORG/llama3, or ollama:llama3 for Ollama's library"),
        ("llama3:8b", "ORG/llama3:8b, or ollama:llama3:8b"),
        ("org/name:Q4_0@main", "org/name@main:Q4_0"),
        ("org/name/extra", "org/name"),
        ("org/na me", "org/na-me"),
        ("org/name@", "org/name@main"),
        ("org/name@../../etc", "org/name@main"),
        ("org/name@a//b", "org/name@main"),
        ("org/name:", "org/name:Q4_K_M"),
        ("org/name:../x.gguf", "org/name:Q4_K_M"),
        ("org/..", "ORG/NAME"),
        ("org/../name", None),
        ("s3://bucket/x.gguf", "ORG/NAME"),
        ("file:///etc/passwd", "ORG/NAME"),
        ("http://example.test/x.gguf", "https://example.test/x.gguf, or add #sha256=HEX"),
        ("https://example.test/x.bin", "ask for its .safetensors"),
        ("https://example.test/x.zip", "set HF_ENDPOINT and write ORG/NAME"),
        ("https://example.test/x.gguf#sha256=12", "https://example.test/x.gguf#sha256= and 64 hexadecimal digits"),
        ("https://example.test/x.gguf#part", "and 64 hexadecimal digits"),
        ("https://user:secret@example.test/x.gguf", "HF_TOKEN"),
        ("https://[::1/x.gguf", "ORG/NAME"),
        ("https:///x.gguf", "ORG/NAME"),
        ("https://example.test:99999/x.gguf", "ORG/NAME"),
        ("https://ollama.com/library/llama3.2", "ollama:llama3.2"),
        ("https://huggingface.co/org", None),
        ("https://huggingface.co/org/name/blob/main/model-00001-of-00002.safetensors", "org/name@main"),
        ("ollama:", "ollama:llama3.2:1b"),
        ("ollama:a/b/c", "ollama:llama3.2:1b"),
        ("ollama:../x", "ollama:llama3.2:1b"),
        ("ollama:llama3:", "ollama:llama3:latest"),
        ("ollama:llama3:a b", "ollama:llama3:latest"),
        ("./nothing-here", "check the path"),
        ("./org/name", "org/name without ./ is a repository"),
        ("org/name\x00", "ORG/NAME"),
        ("org/n\x1b[2Jame", "ORG/NAME"),
        ("x" * 3000, "ORG/NAME"),
        ("~nobody-has-this-name/x", "write the whole path"),
    ],
)
def test_the_nearest_right_spelling(text: str, hint: str | None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, base=tmp_path)
    assert caught.value.hint
    assert hint is None or hint in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_folder_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    with pytest.raises(ConfigError) as caught:
        parse("tiny", base=tmp_path)
    assert caught.value.hint == "./tiny"


@pytest.mark.parametrize(("text", "name"), [("q4_k_m", "Q4_K_M"), ("bf16", "BF16"), ("ud-q4_k_xl", "ud-q4_k_xl")])
def test_a_quantisation_is_spelled_as_in_llama_cpp(text: str, name: str) -> None:
    assert quantisation_name(text) == name


WORDS = [
    "org",
    "name",
    "/",
    ":",
    "@",
    "..",
    ".",
    "hf:",
    "ollama:",
    "https://",
    "huggingface.co",
    "~",
    "#sha256=",
    " ",
    "é",
]


@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=9).map("".join))
def test_nothing_but_a_reference_or_an_explanation_comes_out(text: str) -> None:
    hint: str | None = "a reference"
    found = None
    try:
        found = parse(text)
    except ConfigError as error:
        hint = error.hint
    assert hint
    if found is None:
        return
    for part in (found.repo, found.revision, found.tag):
        assert part is None or ".." not in part.split("/")
    assert found.name
    assert "/" not in found.name
