"""Instructor, which needs older libraries than the rest: in an environment of its own.

What is asked and expected stands in apart/instructor_client.py; here it is started and its findings are read.
"""

from collections.abc import Callable
from pathlib import Path

APART = Path(__file__).parent / "apart"
CHECKS = {
    "a_typed_answer_by_tools",
    "a_typed_answer_by_json_schema",
    "a_typed_answer_by_responses",
    "a_partial_stream",
    "a_list_streamed",
    "asynchronous",
    "errors",
}


def test_every_check(outside: Callable[..., dict[str, str | None]]) -> None:
    found = outside(APART / ".venv" / "bin" / "python", APART / "instructor_client.py")
    assert {check: problem for check, problem in found.items() if problem} == {}
    assert set(found) == CHECKS
