"""The gate for artefacts of the store: finds what one was made from, asks both, compares, stores the verdict.

The original of an artefact is the nearest of its ancestors (`of`) that is in safetensors: transformers answers for it.
Where there is none, it is the nearest GGUF file that was published so or has passed: then the engine answers for both,
which shows what quantising did, and needs no torch.

    passed        every check passed
    quarantined   one did not; the evidence says which, where, and what was expected
    unverified    the original cannot be asked here (NoReference), nothing is known

A file that the engine cannot even load is quarantined as well.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from freehold.own.gguf import ModelFile, read_header
from freehold.own.parity import artefact as engine
from freehold.own.parity import original as reference
from freehold.own.parity.answers import Answers, Questions
from freehold.own.parity.artefact import Unusable
from freehold.own.parity.compare import Check, Figures, Report, compare
from freehold.own.parity.limits import Limits, limits, looser
from freehold.own.parity.original import NoReference
from freehold.own.parity.questions import questions
from freehold.own.weights.store import Artefact, Store, Version
from freehold.own.weights.types import Verdict

Originals = dict[str, Answers]
"""Answers of originals by artefact id, kept while several artefacts of one version are judged."""


def judged(version: Version) -> list[Artefact]:
    """Returns the artefacts that the gate is for: those made here, oldest first."""
    return [one for one in version.artefacts if one.made != "pulled" and one.format == "gguf" and not one.projector]


async def judge(store: Store, version: Version, artefact: Artefact, originals: Originals | None = None) -> Version:
    """Checks an artefact and stores the verdict with its evidence. Returns the version as it is then.

    Raises NoReference when it cannot be judged here, EngineError when the original cannot be loaded or the engine is
    missing; then the verdict stays what it was.
    """
    report = await check(store, version, artefact, originals)
    verdict: Verdict = "passed" if report.passed else "quarantined"
    return store.judge(version.name, version.version, artefact.id, verdict, msgspec.to_builtins(report))


async def check(store: Store, version: Version, artefact: Artefact, originals: Originals | None = None) -> Report:
    """Compares an artefact with its original. Changes nothing; raises as `judge` does."""
    root = root_of(version, artefact)
    originals = {} if originals is None else originals
    path = store.model_path(version, artefact)
    asked = asked_of(read_header(path))
    if root.id not in originals:
        there = store.model_path(version, root)
        originals[root.id] = await _original(there, asked, root, version.parameters or root.size // 2)
    return await compared(originals[root.id], path, asked, artefact.quantisation)


def root_of(version: Version, artefact: Artefact) -> Artefact:
    """Returns the original of an artefact, see the top of the file. Raises EngineError when there is none."""
    above = list(_ancestors(version, artefact))
    found = next((one for one in above if one.format == "safetensors"), None)
    if found is None and artefact.of is None:
        found = next((one for one in version.artefacts if one.format == "safetensors"), None)
    if found is None:
        found = next((one for one in above if one.verdict in ("original", "passed")), None)
    if found is None:
        raise NoReference(
            f"{version.full_name}: what {artefact.id} was made from is not in the store any more",
            hint="pull the original again",
            retry="no",
        )
    return found


def _ancestors(version: Version, artefact: Artefact) -> Iterator[Artefact]:
    by_id = {one.id: one for one in version.artefacts}
    seen = {artefact.id}
    above = artefact.of
    while above is not None and above in by_id and above not in seen:
        seen.add(above)
        yield by_id[above]
        above = by_id[above].of


def asked_of(header: ModelFile) -> Questions:
    """Returns the questions, cut to what the model can hold."""
    return msgspec.structs.replace(questions(), longest=engine.longest(header))


async def _original(path: Path, asked: Questions, root: Artefact, parameters: int) -> Answers:
    if root.format == "gguf":
        return await engine.ask(path, asked)
    return await reference.ask(path, asked, parameters=parameters)


async def compared(answers: Answers, path: Path, asked: Questions, quantisation: str) -> Report:
    """Asks the GGUF file `path` and compares it with the original's `answers` to the same questions."""
    header = read_header(path)
    experts = header.metadata.get(f"{header.architecture}.expert_count") or 0
    allowed = looser(limits(quantisation, experts), limits(header.quantisation, experts))
    try:
        said = await engine.ask(path, asked, answers)
    except Unusable as error:
        return _unusable(answers, quantisation, allowed, error)
    return compare(answers, said, asked, allowed, quantisation)


def _unusable(answers: Answers, quantisation: str, allowed: Limits, error: Unusable) -> Report:
    return Report(
        passed=False,
        quantisation=quantisation,
        original=answers.who,
        artefact="not loaded",
        checks=[Check("loads", False, error.message)],
        figures=Figures(0, 0.0, 0.0, 0.0, 0.0),
        limits=allowed,
        findings=[],
    )
