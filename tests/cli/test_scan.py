"""`freehold scan`: one record per text, in order, and bad lines told."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.cli.scan import command
from freehold.errors import BadRequest


def run(*args: str, stdin: bytes | str = b"") -> Result:
    return CliRunner().invoke(command, list(args), input=stdin)


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_text_gets_one_record_in_order() -> None:
    texts = ["nothing here", "mail anna@example.com", "card 4111 1111 1111 1111 ✓", ""]
    result = run("--json", stdin="".join(json.dumps({"text": text, "id": 7}) + "\n" for text in texts))
    assert result.exit_code == 0
    records = lines(result)
    assert [record["label"] for record in records] == ["public", "confidential", "confidential+pci", "public"]
    (finding,) = records[1]["findings"]
    assert finding == {"type": "email", "start": 5, "end": 21, "rule": "email", "score": 0.95}


def test_offsets_count_code_points() -> None:
    text = "漢字 😀 anna@example.com"
    (record,) = lines(run("--json", stdin=json.dumps({"text": text})))
    (finding,) = record["findings"]
    assert text[finding["start"] : finding["end"]] == "anna@example.com"


def test_no_text_is_repeated_in_the_output() -> None:
    assert "anna" not in run("--json", stdin='{"text": "anna@example.com"}').output
    assert "anna@example.com" not in run(stdin="write to anna@example.com").output


def test_bad_lines_are_told_with_their_number_and_the_rest_is_read() -> None:
    result = run("--json", stdin='{"text": "a"}\nnonsense\n\n{"text": 5}\n{"other": 1}\n{"text": "b@example.com"}\n')
    assert isinstance(result.exception, BadRequest)
    records = lines(result)
    assert [record.get("line") for record in records] == [None, 2, 4, 5, None]
    assert "stdin:2:" in result.stderr
    assert records[-1]["label"] == "confidential"


def test_half_a_surrogate_pair_is_read() -> None:
    (record,) = lines(run("--json", stdin='{"text": "\\ud800 anna@example.com"}\n'))
    assert [finding["type"] for finding in record["findings"]] == ["email"]


def test_files_of_lines_and_plain_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a@example.com"}\n{"text": "none"}\n')
    (tmp_path / "b.txt").write_text("first line\nDB_PASSWORD=Zk3vBq9TxW\n")
    (tmp_path / "empty").write_text("")
    result = run("--json", *(str(tmp_path / name) for name in ("a.jsonl", "b.txt", "empty")))
    assert [record["label"] for record in lines(result)] == ["confidential", "public", "restricted"]


def test_bytes_that_are_no_utf8_are_still_looked_at() -> None:
    (record,) = lines(run("--json", stdin=b"\xff\xfe caf\xe9 anna@example.com"))
    assert [finding["type"] for finding in record["findings"]] == ["email"]


def test_a_person_sees_a_table() -> None:
    result = run(stdin="mail anna@example.com")
    assert result.exit_code == 0
    assert "stdin:1: confidential" in result.output
    assert "email" in result.output
    assert "nothing found" in run(stdin="hello").output


def test_lines_are_answered_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant memory: a line's record is written before the next line is read."""
    from freehold.cli import scan

    events: list[str] = []

    class Stream(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            events.append("read")
            return super().readline(size)

    monkeypatch.setattr(scan, "_line", lambda value: events.append("write"))
    from freehold.check.detect import Rules

    assert scan._read(Stream(b'{"text": "a"}\n{"text": "b"}\n'), None, Rules(), True) == 0
    assert events == ["read", "write", "read", "write", "read"]


def test_a_line_that_is_too_long_is_told_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.cli import scan

    monkeypatch.setattr(scan, "MAX_LINE", 30)
    result = run("--json", stdin='{"text": "a"}\n{"text": "' + "b" * 100 + '"}\n{"text": "c@example.com"}\n')
    assert [record.get("line") for record in lines(result)] == [None, 2, None]


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.check.detect import national

    monkeypatch.setattr(national, "installed", lambda: False)
    result = run("--json", stdin='{"text": "a"}')
    assert "python-stdnum" in result.stderr
    assert "pip install" in result.stderr


@pytest.mark.parametrize(
    ("stdin", "records"),
    [
        ('\n\n{"text": "a@example.com"}\n', 1),
        ('\ufeff{"text": "a@example.com"}\n{"text": "b"}\n', 2),
        ('broken\n{"text": "a@example.com"}\n', 2),
        ('{\n  "mail": "a@example.com"\n}\n', 1),
        ("{ not json }\nmail a@example.com\n", 1),
        ("[1, 2]\na@example.com", 1),
    ],
)
def test_lines_of_json_are_told_from_text_that_looks_like_it(stdin: str, records: int) -> None:
    result = run("--json", stdin=stdin)
    found = lines(result)
    assert len(found) == records
    assert any(record.get("label") == "confidential" for record in found)
