"""What gets into the store: kinds of files, headers, configuration."""

import json
from typing import Any

import pytest
from made_weights import CONFIG, SOURCE, add, artefact, checkpoint, gguf_bytes, safetensors_bytes, tensors

from freehold.errors import EngineError
from freehold.own.weights.store import Store

EVIL = json.dumps(CONFIG | {"auto_map": {"AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"}}).encode()


def part(number: int, count: int = 2, **more: Any) -> bytes:
    return gguf_bytes({"split.no": number, "split.count": count} | more, seed=number)


def without(name: str) -> dict[str, bytes]:
    return {key: content for key, content in checkpoint().items() if key != name}


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"x.gguf": b"GGUF"}, "bad_weights", "x.gguf: not a GGUF file: it has 4 bytes"),
        ({"x.gguf": gguf_bytes()[:-1]}, "bad_weights", "cut short"),
        ({"x.gguf": gguf_bytes(), "y.gguf": gguf_bytes(seed=1)}, "bad_weights", "one of 1 files, 2 are there"),
        ({"x.gguf": part(0)}, "bad_weights", "one of 2 files, 1 are there"),
        ({"x.gguf": part(0), "y.gguf": part(1)}, "bad_weights", "NAME-00001-of-00002.gguf"),
        ({"x-00001-of-00002.gguf": part(1), "x-00002-of-00002.gguf": part(0)}, "bad_weights", "is not part 1 of 2"),
        ({"x-00001-of-00002.gguf": part(0), "x-00003-of-00002.gguf": part(1)}, "bad_weights", "is not part 2 of 2"),
        ({"x.gguf": gguf_bytes(), "run.sh": b"rm"}, "bad_weights", "run.sh is not a kind of file"),
        ({"x.gguf": gguf_bytes(), "a/lib.so": b"ELF"}, "bad_weights", "a/lib.so is not a kind of file"),
        ({"x.gguf": gguf_bytes(), "pytorch_model.bin": b"PK"}, "pickle_refused", "pytorch_model.bin is a pickle"),
        ({"x.gguf": gguf_bytes(), "x.py": b"1"}, "remote_code_refused", "x.py is Python code"),
        (without("config.json"), "bad_weights", "no config.json"),
        (without("model-00002-of-00002.safetensors"), "bad_weights", "-00002.safetensors', which is not there"),
        (without("model.safetensors.index.json"), "bad_weights", "no index says what is in them"),
        (checkpoint() | {"config.json": b"[]"}, "bad_weights", "config.json is not a JSON object"),
        (checkpoint() | {"config.json": b"{"}, "bad_weights", "config.json is not JSON"),
        (checkpoint() | {"config.json": b"[" * 50_000}, "bad_weights", "config.json is not JSON"),
        (checkpoint() | {"config.json": EVIL}, "remote_code_refused", "modeling_evil.py (EvilForCausalLM)"),
        (checkpoint() | {"modeling_evil.py": b"1"}, "remote_code_refused", "modeling_evil.py is Python code"),
        (checkpoint() | {"model-00001-of-00002.safetensors": b"P" * 99}, "bad_weights", "-00002.safetensors: "),
    ],
)  # fmt: skip
def test_what_does_not_get_in(store: Store, files: dict[str, bytes], code: str, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        add(store, files=files)
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.hint
    assert store.names() == []


def test_code_gets_in_where_a_person_allowed_it(store: Store) -> None:
    version = add(store, files=checkpoint() | {"config.json": EVIL, "modeling_evil.py": b"1"}, remote_code=True)
    assert version.remote_code
    assert (store.folder(version, version.artefacts[0]) / "modeling_evil.py").exists()


def test_what_was_allowed_once_is_not_allowed_again(store: Store) -> None:
    allowed = add(store, files=checkpoint(), remote_code=True)
    plain = add(store, files=checkpoint())
    assert (allowed.version, plain.version, plain.remote_code) == ("v1", "v2", False)


def test_an_attached_artefact_is_looked_at_too(store: Store) -> None:
    add(store)
    with store.hold("test") as hold:
        bad = artefact(store, hold, {"x.gguf": b"GGUF" + bytes(99)}, "Q8_0", made="quantised")
        with pytest.raises(EngineError, match=r"x\.gguf: GGUF version 0"):
            store.attach("tiny", "v1", bad)
    assert len(store.find("tiny").artefacts) == 1


def test_one_file_without_an_index_and_papers_are_fine(store: Store) -> None:
    files = {
        "config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors_bytes(tensors("a")),
        "LICENSE": b"x", "LICENSE-2.0": b"x", "tokenizer.model": b"x", "chat_template.jinja": b"x",
        "1_Pooling/config.json": b"{}",
    }  # fmt: skip
    assert add(store, files=files, source=SOURCE).version == "v1"
