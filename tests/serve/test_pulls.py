"""Weights that the configuration names are pulled by a child, again and again until they are there."""

import asyncio
from pathlib import Path

import pytest

from freehold.own.events import Absent
from freehold.serve import pulls
from freehold.serve.pulls import Pulls


class Trial(Pulls):
    """Pulls of which the first fail. `there` are the names that have come."""

    def __init__(self, failures: int) -> None:
        self.said: list[str] = []
        self.there: list[str] = []
        self.tried: list[str] = []
        self.news = asyncio.Event()
        self.never = False
        """What is pulled is never what was asked for."""
        self._failures = failures
        super().__init__(self._told, self.said.append)

    def _told(self) -> None:
        self.news.set()
        wanted = {"a": "org/x:Q8_0"} if self.never else {name: "org/x" for name in ("a", "b") if name not in self.there}
        self.begin(wanted)

    async def _pull(self, name: str, reference: str) -> str | None:
        self.tried.append(name)
        if len(self.tried) <= self._failures:
            return "the hub cannot be reached"
        self.there.append(name)
        return None


async def test_what_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "FIRST", 0.01)
    trial = Trial(failures=1)
    found = trial.begin({"a": "org/x", "b": "org/x"})
    assert found["a"] == Absent("its weights are being pulled from org/x", pulling=True)
    async with asyncio.timeout(10):
        while len(trial.there) < 2:
            await trial.news.wait()
            trial.news.clear()
    assert trial.tried == ["a", "b", "a"]
    assert trial.said == ["freehold pull org/x: the hub cannot be reached"]
    await trial.close()


async def test_a_changed_configuration_tries_at_once() -> None:
    trial = Trial(failures=2)
    trial.begin({"a": "org/x", "b": "org/x"})
    async with asyncio.timeout(10):
        while len(trial.tried) < 2:
            await trial.news.wait()
            trial.news.clear()
        why = "its weights could not be pulled: the hub cannot be reached"
        assert trial.begin({"a": "org/x"})["a"] == Absent(why)
        trial.forgive()
        while not trial.there:
            await asyncio.sleep(0)
    await trial.close()


async def test_the_end_of_the_gateway_ends_a_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/sh")
    trial = Pulls(lambda: None, lambda _text: None)
    trial.begin({"a": "org/x"})
    await asyncio.sleep(0)
    await asyncio.wait_for(trial.close(), 10)


CHILD = """#!/bin/sh
echo "asking the hub" >&2
echo "error: acme/x is gated" >&2
echo "hint: ask for access, then set HF_TOKEN" >&2
exit 1
"""


async def test_the_reason_and_the_hint_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "python"
    child.write_text(CHILD)
    child.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(child))
    monkeypatch.setattr(pulls, "FIRST", 60.0)
    said: list[str] = []
    news = asyncio.Event()
    running = Pulls(news.set, said.append)
    running.begin({"x": "acme/x"})
    await asyncio.wait_for(news.wait(), 10)
    why = "its weights could not be pulled: acme/x is gated; ask for access, then set HF_TOKEN"
    assert running.begin({"x": "acme/x"})["x"] == Absent(why)
    assert said == ["freehold pull acme/x: acme/x is gated; ask for access, then set HF_TOKEN"]
    await running.close()


async def test_a_pull_that_does_not_bring_what_was_asked_for_is_not_begun_at_once_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulls, "FIRST", 60.0)
    trial = Trial(failures=0)
    trial.never = True
    trial.begin({"a": "org/x:Q8_0"})
    async with asyncio.timeout(10):
        while not trial.said:
            await trial.news.wait()
            trial.news.clear()
    assert trial.tried == ["a"]
    assert "no org/x:Q8_0 after it was pulled" in trial.begin({"a": "org/x:Q8_0"})["a"].why
    await trial.close()
