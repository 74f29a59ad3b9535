"""Which artefact of a version may serve. Pure.

As published, or passed by the parity gate: yes. Converted by us and looked at by nobody: yes, and it says so. Quantised
or merged by us and not passed: no. Quarantined: never. Of several that may, the newest: it was asked for last.
"""

from freehold.errors import EngineError
from freehold.own.weights.choose import is_named, label_of
from freehold.own.weights.types import Artefact, Format, Version


def refusal(artefact: Artefact) -> str | None:
    """Returns why an artefact may not serve, None where it may."""
    if artefact.verdict == "quarantined":
        return "it failed the parity check"
    if artefact.verdict == "unverified" and artefact.made in ("quantised", "merged"):
        return f"it was {artefact.made} here and has not passed the parity check"
    return None


def choose(version: Version, quantisation: str | None = None, format: Format | None = None) -> Artefact:
    """Returns the artefact to serve.

    Raises EngineError: no_such_quantisation where there is none of that kind, unverified or quarantined where there is
    one that may not serve.
    """
    wanted = [one for one in version.artefacts if not one.projector and format in (None, one.format)]
    if quantisation is not None:
        fitting = [one for one in wanted if fits(one, quantisation)]
        wanted = [one for one in fitting if one.quantisation.lower() == quantisation.lower()] or fitting
    able = [one for one in wanted if refusal(one) is None]
    if able:
        return max(able, key=lambda one: (one.format == "gguf", version.artefacts.index(one)))
    if wanted:
        return _refuse(version, wanted[-1])
    have = ", ".join(f"{one.quantisation} ({one.format})" for one in version.artefacts if not one.projector)
    what = " ".join(filter(None, (quantisation, format, "weights")))
    raise EngineError(
        f"{version.full_name} has no {what}",
        code="no_such_quantisation",
        retry="no",
        hint=f"it has {have or 'nothing that can be served'}",
    )


def fits(artefact: Artefact, asked: str) -> bool:
    """Whether an artefact is what a person asked for: by quantisation, by its id, or by the name of a file. Some
    publishers write UD- before a quantisation, which nobody needs to write."""
    if asked.lower() in (artefact.quantisation.lower(), artefact.id.lower()):
        return True
    if any(is_named(file, asked) for file in artefact.files if file.endswith(".gguf")):
        return True
    label = label_of(asked) or asked.upper()
    return label.removeprefix("UD-") == artefact.quantisation.upper().removeprefix("UD-")


def _refuse(version: Version, artefact: Artefact) -> Artefact:
    hint = f"freehold check {version.name} compares it with the original (pip install 'freehold[reference]')"
    if artefact.verdict == "quarantined":
        hint = f"freehold weights show {version.name} prints the evidence"
    raise EngineError(
        f"{version.full_name} in {artefact.quantisation} may not serve: {refusal(artefact)}",
        code="quarantined" if artefact.verdict == "quarantined" else "unverified",
        retry="no",
        hint=hint,
    )
