"""Weights that the configuration names are pulled by a child, again and again until they are there."""

import asyncio

import pytest

from freehold.serve import pulls
from freehold.serve.pulls import Pulls


class Trial(Pulls):
    """Pulls of which the first fail. `there` are the names that have come."""

    def __init__(self, failures: int) -> None:
        self.said: list[str] = []
        self.there: list[str] = []
        self.tried: list[str] = []
        self.news = asyncio.Event()
        self._failures = failures
        super().__init__(self._told, self.said.append)

    def _told(self) -> None:
        self.news.set()
        self.begin({name: "org/x" for name in ("a", "b") if name not in self.there})

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
    assert found["a"] == "its weights are being pulled from org/x"
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
        assert trial.begin({"a": "org/x"})["a"] == "its weights could not be pulled: the hub cannot be reached"
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
