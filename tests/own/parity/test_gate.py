"""The gate lets through what is right, and catches artefacts that are really broken, each in one way."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.gguf import read_header
from freehold.own.parity import gate, original
from freehold.own.parity.answers import Answers, Questions
from freehold.own.parity.compare import Report
from freehold.own.weights.store import Artefact, Source, Store, Version, artefact_id

pytest.importorskip("numpy", reason="numpy is not installed: pip install 'freehold[own]'")
pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'freehold[own]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'freehold[reference]'")

import numpy as np
from gguf_edit import edit

from freehold.own.convert.core import convert
from freehold.own.convert.quantise import quantise

pytestmark = pytest.mark.usefixtures("engine_needed")


class Made(NamedTuple):
    folder: Path
    path: Path
    asked: Questions
    answers: Answers


@pytest.fixture(scope="module")
def made(
    tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """A tiny Llama 3 and its faithful conversion."""
    folder = tiny_repo("llama3")
    path = tmp_path_factory.mktemp("made") / "made.gguf"
    convert(folder, path, outtype="F32")
    asked = gate.asked_of(read_header(path))
    return Made(folder, path, asked, original_says(folder, asked))


def unpermuted(heads: int) -> Callable[[Any], Any]:
    """As the repository has the rows of a query or key: what a converter writes that forgets to permute them."""

    def apply(rows: Any) -> Any:
        half = rows.shape[0] // heads // 2
        return rows.reshape(heads, half, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)

    return apply


def ones(array: Any) -> Any:
    return np.ones_like(array)


def forgotten(row: int) -> Callable[[Any], Any]:
    def apply(rows: Any) -> Any:
        changed = rows.copy()
        changed[row] = 0
        return changed

    return apply


BROKEN: dict[str, tuple[dict[str, Any], set[str]]] = {
    "queries of one layer not permuted": (
        {"tensors": {"blk.0.attn_q.weight": unpermuted(4)}},
        {"greedy", "top-1", "divergence"},
    ),
    "queries and keys not permuted": (
        {
            "tensors": {
                f"blk.{layer}.attn_{name}.weight": unpermuted(heads)
                for layer in (0, 1)
                for name, heads in (("q", 4), ("k", 2))
            }
        },
        {"greedy", "top-1", "divergence"},
    ),
    "rotary scaling left out": ({"tensors": {"rope_freqs.weight": ones}}, {"greedy", "top-1", "divergence"}),
    "rotary base left out": ({"keys": {"llama.rope.freq_base": 10000.0}}, {"greedy", "top-1", "divergence"}),
    "a norm left out": ({"tensors": {"blk.0.attn_norm.weight": ones}}, {"greedy", "top-1", "divergence"}),
    "epsilon": ({"keys": {"llama.attention.layer_norm_rms_epsilon": 1e-2}}, {"divergence"}),
    "one matrix a tenth too large": ({"tensors": {"blk.1.ffn_down.weight": lambda rows: rows * 1.1}}, {"divergence"}),
    "one matrix a fiftieth too large": (
        {"tensors": {"blk.1.ffn_down.weight": lambda rows: rows * 1.02}},
        {"divergence"},
    ),
    "one token's embedding lost": ({"tensors": {"token_embd.weight": forgotten(220)}}, {"divergence"}),
    "end of text": ({"keys": {"tokenizer.ggml.eos_token_id": 40}}, {"end of text"}),
    "pre-tokenizer": ({"keys": {"tokenizer.ggml.pre": "gpt-2"}}, {"tokens"}),
    "no beginning of text": ({"keys": {"tokenizer.ggml.add_bos_token": False}}, {"tokens"}),
    "no template": ({"keys": {"tokenizer.chat_template": None}}, {"template"}),
    "head count": ({"keys": {"llama.attention.head_count": 2}}, {"loads"}),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_what_is_broken_does_not_pass(how: str, made: Made, tmp_path: Path) -> None:
    changes, failing = BROKEN[how]
    path = edit(made.path, tmp_path / "broken.gguf", **changes)
    report = await gate.compared(made.answers, path, made.asked, "F32")
    assert not report.passed
    assert failing <= {check.name for check in report.checks if check.passed is False}
    assert report.findings or failing == {"loads"}


async def test_a_changed_template_is_shown_where_it_differs(made: Made, tmp_path: Path) -> None:
    template = (
        (made.folder / "chat_template.jinja").read_text().replace("message['content'] | trim", "message['content']")
    )
    path = edit(made.path, tmp_path / "broken.gguf", keys={"tokenizer.chat_template": template})
    report = await gate.compared(made.answers, path, made.asked, "F32")
    assert [check.name for check in report.checks if check.passed is False] == ["template"]
    (finding,) = report.findings
    assert finding.where == "several turns"
    assert finding.expected.startswith("Count to 3")
    assert finding.got.startswith("  Count to 3")


async def test_tokens_in_another_order_are_caught(made: Made, tmp_path: Path) -> None:
    import gguf

    merges = gguf.GGUFReader(made.path).fields["tokenizer.ggml.merges"].contents()
    path = edit(made.path, tmp_path / "broken.gguf", keys={"tokenizer.ggml.merges": merges[::-1]})
    report = await gate.compared(made.answers, path, made.asked, "F32")
    assert "tokens" in {check.name for check in report.checks if check.passed is False}
    found = next(one for one in report.findings if one.check == "tokens")
    assert found.expected != found.got


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
async def test_rounding_passes(kind: str, made: Made, tmp_path: Path) -> None:
    quantise(made.path, tmp_path / "made.gguf", kind)
    report = await gate.compared(made.answers, tmp_path / "made.gguf", made.asked, kind)
    assert report.passed, report
    assert 0 < report.figures.mean_kl < report.limits.kl


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K_M"])
async def test_what_a_quantisation_may_lose_depends_on_it(
    kind: str, tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    """A model with weak opinions keeps them in four bits; the same loss is too much for a file that says F16."""
    if kind.startswith("Q4_K"):
        pytest.importorskip("cyllama", reason="cyllama is not installed: pip install 'freehold[own]'")
    folder = tiny_repo("llama3", calm=True)
    convert(folder, tmp_path / "made.gguf", outtype="F32")
    quantise(tmp_path / "made.gguf", tmp_path / "small.gguf", kind)
    asked = gate.asked_of(read_header(tmp_path / "small.gguf"))
    answers = original_says(folder, asked)
    report = await gate.compared(answers, tmp_path / "small.gguf", asked, kind)
    assert report.passed, report
    assert report.figures.mean_kl > 0.001


async def test_strong_opinions_do_not_survive_four_bits(made: Made, tmp_path: Path) -> None:
    quantise(made.path, tmp_path / "small.gguf", "Q4_0")
    report = await gate.compared(made.answers, tmp_path / "small.gguf", made.asked, "Q4_0")
    assert not report.passed
    assert [check.name for check in report.checks if check.passed is False] == ["top-1", "divergence"]


# with the store


class Shelf(NamedTuple):
    store: Store
    version: Version

    def artefact(self, made: str) -> Artefact:
        version = self.store.find(self.version.name)
        return next(one for one in version.artefacts if one.made == made)


@pytest.fixture
def shelve(tmp_path: Path) -> Callable[..., Shelf]:
    store = Store(tmp_path / "models")

    def put(folder: Path | None, *made: tuple[Path, str, str, str | None]) -> Shelf:
        """`made`: file, quantisation, how it was made, id of what it was made from."""
        with store.hold("test") as hold:
            artefacts = []
            if folder is not None:
                files = {path.name: store.copy_in(hold, path) for path in folder.iterdir()}
                artefacts.append(Artefact(artefact_id("safetensors", "F32"), "safetensors", "F32", files))
            for path, quantisation, how, of in made:
                files = {f"{quantisation}.gguf": store.copy_in(hold, path)}
                verdict = "original" if how == "pulled" else "unverified"
                artefacts.append(
                    Artefact(artefact_id("gguf", quantisation), "gguf", quantisation, files, how, of, verdict)  # type: ignore[arg-type]
                )
            source = Source("folder", "here")
            version = store.add("tiny", source=source, artefacts=artefacts, parameters=100_000)
        return Shelf(store, version)

    return put


async def test_the_verdict_is_stored_and_serves(made: Made, shelve: Callable[..., Shelf]) -> None:
    shelf = shelve(made.folder, (made.path, "F32", "converted", "safetensors-F32"))
    version = await gate.judge(shelf.store, shelf.version, shelf.artefact("converted"))
    judged = version.artefact("gguf-F32")
    assert judged.verdict == "passed"
    report = msgspec.convert(judged.evidence, Report)
    assert report.passed
    assert "transformers" in report.original
    assert shelf.store.choose(version) == judged
    assert "torch" not in original.environment({"PATH": "/bin"})


async def test_a_broken_one_is_quarantined_with_the_evidence(
    made: Made, shelve: Callable[..., Shelf], tmp_path: Path
) -> None:
    path = edit(made.path, tmp_path / "broken.gguf", tensors={"blk.0.attn_q.weight": unpermuted(4)})
    shelf = shelve(made.folder, (path, "F32", "converted", "safetensors-F32"))
    originals = {"safetensors-F32": made.answers}
    version = await gate.judge(shelf.store, shelf.version, shelf.artefact("converted"), originals)
    judged = version.artefact("gguf-F32")
    assert judged.verdict == "quarantined"
    assert judged.evidence is not None
    assert {one["check"] for one in judged.evidence["findings"]} == {"greedy", "divergence"}
    with pytest.raises(EngineError) as raised:
        shelf.store.choose(version, format="gguf")
    assert raised.value.code == "quarantined"


async def test_without_torch_nothing_is_known(
    made: Made, shelve: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelve(made.folder, (made.path, "F32", "converted", "safetensors-F32"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert original.missing() is not None
    with pytest.raises(gate.NoReference) as raised:
        await gate.check(shelf.store, shelf.version, shelf.artefact("converted"))
    assert raised.value.hint == "pip install 'freehold[reference]'"
    assert shelf.artefact("converted").verdict == "unverified"


async def test_a_published_gguf_is_the_original_of_what_is_quantised_from_it(
    made: Made, shelve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise(made.path, tmp_path / "small.gguf", "Q8_0")
    shelf = shelve(None, (made.path, "F32", "pulled", None), (tmp_path / "small.gguf", "Q8_0", "quantised", "gguf-F32"))
    monkeypatch.setattr(original, "ask", None)
    version = await gate.judge(shelf.store, shelf.version, shelf.artefact("quantised"))
    assert version.artefact("gguf-Q8_0").verdict == "passed"
    assert [one.id for one in gate.judged(version)] == ["gguf-Q8_0"]


def test_an_artefact_whose_origin_is_gone_cannot_be_judged(made: Made, shelve: Callable[..., Shelf]) -> None:
    shelf = shelve(None, (made.path, "F32", "converted", "safetensors-F32"))
    with pytest.raises(gate.NoReference, match="not in the store any more"):
        gate.root_of(shelf.version, shelf.artefact("converted"))


def test_the_gate_does_not_import_torch() -> None:
    import subprocess

    code = (
        "import sys, freehold.own.parity.gate, freehold.cli.check; sys.exit(bool({'torch', 'gguf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
