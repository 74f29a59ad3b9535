"""Tables of outcomes: every format is told by its header, and whatever is none is an error with file and line."""

import gzip
from pathlib import Path

import outcome_tables as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import ConfigError
from freehold.measure.routing import tables

SHARED = Path(__file__).parents[4] / "shared" / "data" / "routing"


@pytest.mark.parametrize("kind", ["routellm", "mmlu_pro", "zeroeval", "plain"])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_the_header_tells_the_format(tmp_path: Path, kind: str, suffix: str) -> None:
    path = getattr(made, kind)(tmp_path / f"t.{suffix}", 20)
    table = tables.read(path)
    assert table.kind == kind
    assert len(table) == 20
    assert set(table.models) <= set(made.MODELS)
    truth = made.rows(20)
    assert table.models["large-400b"].ok == [right["large-400b"] for _, _, right in truth]
    assert all(prompt.startswith("Question") for prompt in table.prompts)


def test_options_become_lettered_lines(tmp_path: Path) -> None:
    table = tables.read(made.mmlu_pro(tmp_path / "t.csv", 3))
    assert table.prompts[0].splitlines()[1:] == ["A. yes", "B. no", "C. perhaps"]


def test_an_empty_cell_is_not_a_wrong_answer(tmp_path: Path) -> None:
    table = tables.read(made.mmlu_pro(tmp_path / "t.csv", 60))
    column = table.models["middle-30b"].ok
    assert [i for i, cell in enumerate(column) if cell is None] == [7, 47]


def test_lengths_and_costs_are_read_where_they_are(tmp_path: Path) -> None:
    table = tables.read(made.zeroeval(tmp_path / "z.csv", 4))
    assert table.models["large-400b"].out_chars == [600.0] * 4
    assert table.models["large-400b"].cost is None
    table = tables.read(made.plain(tmp_path / "p.csv", 4))
    assert table.models["large-400b"].cost == [0.01] * 4
    assert table.tasks == [""] * 4


def test_files_of_one_kind_are_joined_whatever_their_models(tmp_path: Path) -> None:
    first = made.write(tmp_path / "a.csv", ["prompt", "one", "two", "subject"], [["p", "True", "False", "s"]])
    second = made.write(tmp_path / "b.csv", ["prompt", "two", "three", "subject"], [["q", "True", "True", "t"]])
    other = made.plain(tmp_path / "c.csv", 2)
    joined, apart = tables.read_all([first, second, other])
    assert joined.outcomes() == {"one": [1, None], "two": [0, 1], "three": [None, 1]}
    assert joined.tasks == ["s", "t"]
    assert apart.kind == "plain"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("a,b\n1,2\n", 1, "no table of outcomes"),
        ("prompt,subject\np,s\n", 1, "no column of a model"),
        ("prompt,m,m,subject\n", 1, "twice"),
        ("prompt,m,subject\n", 1, "no row"),
        ("prompt,m,subject\np,True,s\np,maybe,s\n", 3, "neither right nor wrong"),
        ("prompt,m,subject\np,True\n", 2, "2 cells, the header has 3"),
        ("prompt,m|ok,m|out_chars\np,1,long\n", 2, "not a number"),
        ("prompt,m|ok,m|out_chars\np,1,-1\n", 2, "not a number"),
        ("prompt,m|ok,m|nothing\np,1,1\n", 1, "neither id, task"),
        ("prompt,m|ok,n|out_chars\np,1,1\n", 1, "no column n|ok"),
        ('prompt,m,subject\n"p,True,s\n', 2, "not CSV"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words.replace("|", r"\|")) as caught:
        tables.read(path)
    assert caught.value.where == f"{path}:{line}"


def test_files_that_are_no_text_are_errors_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"prompt,m,subject\n" + b"p,True,s\n" * 50)[:-6])
    with pytest.raises(ConfigError, match="gzip"):
        tables.read(path)
    path.write_bytes(b"prompt,m,subject\n\xff\xfe,True,s\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        tables.read(path)
    with pytest.raises(ConfigError, match="No such file"):
        tables.read(tmp_path / "nowhere.csv")


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_read_or_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for head in (b"", b"prompt,m,subject\n", b"id,task,prompt,m|ok\n", b"\x1f\x8b"):
        path.write_bytes(head + data)
        try:
            table = tables.read(path)
        except ConfigError:
            continue
        assert all(len(column.ok) == len(table) for column in table.models.values())


def test_the_public_files_are_read_whole() -> None:
    if not SHARED.exists():
        pytest.skip("../shared/data/routing is not here")
    sizes = {path.name: tables.read(path) for path in sorted(SHARED.glob("*.csv.gz"))}
    assert {name: (table.kind, len(table.models)) for name, table in sizes.items()} == {
        "mmlu_pro.csv.gz": ("mmlu_pro", 29),
        "routellm_mmlu.csv.gz": ("routellm", 2),
        "zeroeval.csv.gz": ("zeroeval", 60),
    }
