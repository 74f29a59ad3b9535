"""LlamaIndex' `OpenAILike`, which needs an older `openai` than the rest: in an environment of its own.

What is asked and expected stands in apart/llama_index_client.py; here it is started and its findings are read.
"""

from collections.abc import Callable
from pathlib import Path

APART = Path(__file__).parent / "apart"
CHECKS = {
    "streamed_equals_whole",
    "asynchronous",
    "legacy_completions",
    "tools_round_trip",
    "streamed_tools",
    "a_typed_answer",
    "errors",
}


def test_every_check(outside: Callable[..., dict[str, str | None]]) -> None:
    found = outside(APART / ".venv" / "bin" / "python", APART / "llama_index_client.py")
    assert {check: problem for check, problem in found.items() if problem} == {}
    assert set(found) == CHECKS
