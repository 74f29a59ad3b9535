"""Whatever stands in the file, loading it gives a Config or ConfigErrors with places inside the file. Nothing else."""

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Config
from freehold.config.schema_json import EXAMPLE

CORPUS = [
    b"""\
server: {host: 127.0.0.1, port: 8484, workers: 2, drain_seconds: 1.5}
providers:
  openai: {base_url: "http://127.0.0.1:9001/v1", api_key: "${KEY}"}
  mine:
    base_url: https://models.example/v1
    dialect: messages
    headers: {X-Team: blue}
    models: {big: {context: 8000, input: 1, output: 2.5, can: [tools, images], strength: 0.5}}
    timeouts: &slow {total: 60}
own:
  - {path: /models/small.gguf, name: small, parallel: 2, facts: {context: 4096}}
models:
  fast: [own/small, openai/gpt-4o-mini]
  auto: {among: [fast, mine/big], objective: best}
keys:
  - {name: ci, key: "fh-0123456789abcdef", models: [fast], requests_per_minute: 60, expires: 2027-01-31}
timeouts: *slow
retries: 3
breaker: {failures: 3, cooldown: 10}
strict: true
""",
    msgspec.json.encode(EXAMPLE),
    b"providers:\n  groq:\nmodels:\n  a: [groq/x]\n# end\n",
]

PIECES = [
    b"\t", b"\n", b": ", b"- ", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"!", b"!!int ", b"|\n", b">", b"'", b'"',
    b"${", b"${X:-", b"}", b"$${", b"%", b"@", b"`", b"? ", b"<<: ", b"---\n", b"...\n", b"#", b".nan", b"1e999",
    b"null", b"~", b"true", b"0x1f", b"-1", b"\x00", b"\xff", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"own/", b"models",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "delete", "move", "piece"])):
            case "insert":
                data[at:at] = draw(st.binary(max_size=4))
            case "delete":
                del data[at : at + draw(st.integers(1, 30))]
            case "move":
                length = draw(st.integers(1, 40))
                other = draw(st.integers(0, len(data)))
                data[other:other] = data[at : at + length]
            case "piece":
                data[at:at] = draw(st.sampled_from(PIECES))
    return bytes(data)


def check(data: bytes) -> None:
    try:
        loaded = loads(data, {"KEY": "sk-0123456789abcdef"}, file="f.yaml", providers=["openai", "groq"])
    except ConfigErrors as errors:
        lines = re.split(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80\xa8|\xe2\x80\xa9", data)
        for error in errors.errors:
            found = re.fullmatch(r"f\.yaml:([0-9]+):([0-9]+)", error.where)
            assert found, error.where
            assert 1 <= int(found[1]) <= len(lines)
            assert int(found[2]) >= 1
            assert error.message != "does not fit the schema", "the walk over the schema missed what msgspec refused"
            assert "sk-0123456789abcdef" not in f"{error} {error.hint}"
        return
    assert isinstance(loaded.config, Config)


@given(mutated())
def test_a_damaged_file_loads_or_says_where_it_is_damaged(data: bytes) -> None:
    check(data)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"? ")
@example(b"a: |")
def test_any_bytes_at_all(data: bytes) -> None:
    check(data)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["a", "a/b"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(Config.__struct_fields__), trees))
def test_any_value_in_any_section(value: dict[str, object]) -> None:
    check(msgspec.json.encode(value))


@pytest.mark.parametrize("data", CORPUS)
def test_the_corpus_itself_loads(data: bytes) -> None:
    env = {"KEY": "sk-0123456789abcdef", "OPENAI_API_KEY": "sk-x", "SUPPORT_BOT_KEY": "fh-fedcba9876543210"}
    assert loads(data, env, providers=["openai", "groq"]).config != Config()
