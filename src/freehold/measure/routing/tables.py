"""Tables of outcomes: prompts, and for each model whether its answer was right. Read from CSV, gzipped or not.

The format is told by the header alone, so files never seen before, with other models, subjects and tasks, are read
the same way:

    routellm   `prompt`, `subject`, and one column per model with True or False (lm-sys/RouteLLM's evaluation files)
    mmlu_pro   `question_id`, `category`, `src`, `question`, `options`, and one column per model with 0 or 1
               (TIGER-AI-Lab/MMLU-Pro's results); the prompt is the question followed by its lettered options
    zeroeval   `id`, `task`, `prompt`, and per model `{model}|ok` and `{model}|out_chars` (WildEval/ZeroEval's results)
    plain      `prompt`, perhaps `task`, and per model `{model}|ok`, perhaps `{model}|out_chars`, `{model}|cost` (US $)

A cell may be empty: that model was not asked this prompt, which is not the same as failing it. Everything else that is
not understood is an error with file and line. Pure Python; numpy is not needed to read.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from freehold.errors import ConfigError

MAX_CELL = 16 << 20
"""Characters in one cell; a prompt of this length is no prompt."""
MAX_BYTES = 4 << 30
"""Unpacked bytes of one file: a gzip bomb ends here."""

_TRUE = {"1": 1, "1.0": 1, "true": 1, "True": 1, "TRUE": 1}
_FALSE = {"0": 0, "0.0": 0, "false": 0, "False": 0, "FALSE": 0}
_CELLS: dict[str, int | None] = {**_TRUE, **_FALSE, "": None}


class Reader(Protocol):
    """What csv.reader returns."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


class Outcomes(Struct):
    """One model over the rows of a table. `ok` 1 right, 0 wrong, None not asked; `out_chars` characters of the answer;
    `cost` US dollars of the call. The last two are None where the file has no such column."""

    ok: list[int | None]
    out_chars: list[float | None] | None = None
    cost: list[float | None] | None = None

    def take(self, rows: Sequence[int]) -> "Outcomes":
        chars, cost = self.out_chars, self.cost
        return Outcomes(
            [self.ok[i] for i in rows],
            None if chars is None else [chars[i] for i in rows],
            None if cost is None else [cost[i] for i in rows],
        )


class Table(Struct):
    """Rows of one or several files of one kind. `tasks` holds "" where a file names none."""

    kind: str
    prompts: list[str]
    tasks: list[str]
    models: dict[str, Outcomes]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Sequence[int]) -> "Table":
        """Returns these rows, in this order."""
        return Table(
            self.kind,
            [self.prompts[i] for i in rows],
            [self.tasks[i] for i in rows],
            {name: column.take(rows) for name, column in self.models.items()},
        )

    def only(self, names: Sequence[str]) -> "Table":
        """Returns all rows with these models alone."""
        return msgspec.structs.replace(self, models={name: self.models[name] for name in names})

    def outcomes(self) -> dict[str, list[int | None]]:
        return {name: column.ok for name, column in self.models.items()}


def read(path: Path) -> Table:
    """Reads one file.

    Raises ConfigError with file and line for what cannot be read or is none of the formats above.
    """
    with _opened(path) as lines:
        reader = csv.reader(lines, strict=True)
        where = _Where(path, reader)
        limit = csv.field_size_limit(MAX_CELL)
        try:
            header = next(reader, None)
            if header is None:
                raise where.error("the file is empty", hint=FORMATS)
            shape = _shape(header, where)
            table = _rows(shape, reader, where)
        except csv.Error as error:
            raise where.error(f"not CSV: {error}") from None
        except UnicodeDecodeError:
            raise where.error("not UTF-8 text") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise where.error(f"not a whole gzip file: {error}") from None
        finally:
            csv.field_size_limit(limit)
    if not table.prompts:
        raise where.error("there is a header but no row")
    return table


def read_all(paths: Sequence[Path]) -> list[Table]:
    """Reads files and joins those of one kind: rows one after the other, each with the models of its own file.

    Files of different kinds stay apart: their tasks and what counts as right are not the same thing.
    """
    by_kind: dict[str, list[Table]] = {}
    for path in paths:
        table = read(path)
        by_kind.setdefault(table.kind, []).append(table)
    return [join(tables) for tables in by_kind.values()]


def join(tables: Sequence[Table]) -> Table:
    """Returns one table of all rows; a model that a table does not have was not asked there."""
    if len(tables) == 1:
        return tables[0]
    kinds = dict.fromkeys(table.kind for table in tables)
    names = dict.fromkeys(name for table in tables for name in table.models)
    joined = Table(
        "+".join(kinds),
        [prompt for table in tables for prompt in table.prompts],
        [task for table in tables for task in table.tasks],
        {},
    )
    for name in names:
        columns = [table.models.get(name) or Outcomes([None] * len(table)) for table in tables]
        joined.models[name] = Outcomes(
            [cell for column in columns for cell in column.ok],
            _joined([column.out_chars for column in columns], tables),
            _joined([column.cost for column in columns], tables),
        )
    return joined


def _joined(columns: list[list[float | None] | None], tables: Sequence[Table]) -> list[float | None] | None:
    if all(column is None for column in columns):
        return None
    return [
        cell
        for column, table in zip(columns, tables, strict=True)
        for cell in (column if column is not None else [None] * len(table))
    ]


class _Shape(Struct):
    """Where everything is in a row."""

    kind: str
    prompt: Callable[[list[str]], str]
    task: int | None
    width: int
    ok: dict[str, int]
    out_chars: dict[str, int]
    cost: dict[str, int]


FORMATS = "known are the columns of RouteLLM, MMLU-Pro, ZeroEval, and prompt,[task],{model}|ok,[{model}|out_chars],..."


class _Where:
    """The place in a file, for errors."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self._path, self._reader = path, reader

    def error(self, message: str, *, key: str = "", hint: str | None = None) -> ConfigError:
        return ConfigError(message, where=f"{self._path}:{max(self._reader.line_num, 1)}", key=key, hint=hint)


def _shape(header: list[str], where: _Where) -> _Shape:
    columns: dict[str, int] = {}
    for index, name in enumerate(header):
        name = name.strip() if index else name.removeprefix("\ufeff").strip()
        if not name:
            raise where.error(f"column {index + 1} has no name", hint=FORMATS)
        if name in columns:
            raise where.error("a column is there twice", key=name)
        columns[name] = index
    if {"question_id", "category", "question", "options"} <= columns.keys():
        ours = {"question_id", "category", "src", "question", "options"}
        question, options = columns["question"], columns["options"]
        shape = _Shape(
            "mmlu_pro",
            lambda row: f"{row[question]}\n{_lettered(row[options])}",
            columns["category"],
            len(header),
            {name: index for name, index in columns.items() if name not in ours},
            {},
            {},
        )
    elif "prompt" in columns and any(name.endswith("|ok") for name in columns):
        shape = _suffixed(columns, len(header), where)
    elif {"prompt", "subject"} <= columns.keys():
        prompt = columns["prompt"]
        ok = {name: index for name, index in columns.items() if name not in ("prompt", "subject")}
        shape = _Shape("routellm", lambda row: row[prompt], columns["subject"], len(header), ok, {}, {})
    else:
        raise where.error("no table of outcomes has this header", hint=FORMATS)
    if not shape.ok:
        raise where.error("there is no column of a model", hint=FORMATS)
    return shape


def _suffixed(columns: dict[str, int], width: int, where: _Where) -> _Shape:
    """Returns the shape of ZeroEval's and of plain files: models are told by the suffix of their columns."""
    found: dict[str, dict[str, int]] = {"ok": {}, "out_chars": {}, "cost": {}}
    for name, index in columns.items():
        if name in ("id", "task", "prompt"):
            continue
        model, bar, suffix = name.rpartition("|")
        if not bar or not model or suffix not in found:
            raise where.error("neither id, task, prompt nor {model}|ok, |out_chars or |cost", key=name, hint=FORMATS)
        found[suffix][model] = index
    for suffix in ("out_chars", "cost"):
        for model in found[suffix]:
            if model not in found["ok"]:
                raise where.error(f"there is no column {model}|ok for it", key=f"{model}|{suffix}")
    prompt, task = columns["prompt"], columns.get("task")
    kind = "zeroeval" if "id" in columns and task is not None else "plain"
    return _Shape(kind, lambda row: row[prompt], task, width, found["ok"], found["out_chars"], found["cost"])


def _rows(shape: _Shape, reader: Reader, where: _Where) -> Table:
    table = Table(shape.kind, [], [], {name: Outcomes([]) for name in shape.ok})
    chars: dict[str, list[float | None]] = {name: [] for name in shape.out_chars}
    costs: dict[str, list[float | None]] = {name: [] for name in shape.cost}
    ok = [(index, name, table.models[name].ok) for name, index in shape.ok.items()]
    numbers = [(index, f"{name}|out_chars", chars[name]) for name, index in shape.out_chars.items()]
    numbers += [(index, f"{name}|cost", costs[name]) for name, index in shape.cost.items()]
    for row in reader:
        if not row:
            continue
        if len(row) != shape.width:
            raise where.error(f"{len(row)} cells, the header has {shape.width}")
        table.prompts.append(shape.prompt(row))
        table.tasks.append("" if shape.task is None else row[shape.task].strip())
        for index, name, cells in ok:
            try:
                cells.append(_CELLS[row[index].strip()])
            except KeyError:
                raise where.error(
                    f"{row[index][:40]!r} is neither right nor wrong", key=name, hint="0, 1 or empty"
                ) from None
        for index, name, values in numbers:
            values.append(_number(row[index].strip(), name, where))
    for name, column in table.models.items():
        column.out_chars, column.cost = chars.get(name), costs.get(name)
    return table


def _number(cell: str, name: str, where: _Where) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e12:
        raise where.error(f"{cell[:40]!r} is not a number from 0 up", key=name)
    return value


def _lettered(options: str) -> str:
    """Returns MMLU-Pro's list of options as the lines `A. ...`; text that is no JSON list of strings as it is."""
    try:
        found = msgspec.json.decode(options, type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return options
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "\n".join(f"{letters[i % 26]}. {text}" for i, text in enumerate(found))


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """The text lines of a file, unpacked where it is gzip by its first bytes, whatever it is called."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", where=str(path)) from None
    with raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        with io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, encoding="utf-8", newline="") as lines:
            yield _bounded(lines, path)


def _bounded(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    left = MAX_BYTES
    while line := lines.readline(MAX_CELL):
        left -= len(line)
        if left < 0:
            raise ConfigError(f"more than {MAX_BYTES >> 30} GiB unpacked", where=str(path))
        yield line
