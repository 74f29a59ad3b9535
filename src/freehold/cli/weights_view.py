"""What `freehold weights list` and `show` print of a version: tables for people, values for --json."""

import sys
from typing import TYPE_CHECKING, Any

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.own.weights.describe import Facts, Need
    from freehold.own.weights.store import Artefact, Store, Version


def row(store: "Store", version: "Version") -> dict[str, Any]:
    pinned = version.version in store.pins(version.name)
    return {
        "name": version.name,
        "version": version.version,
        "current": version.version == store.current(version.name),
        "artefacts": [
            {
                "id": one.id,
                "format": one.format,
                "quantisation": one.quantisation,
                "verdict": one.verdict,
                "made": one.made,
            }
            for one in version.artefacts
        ],
        "architecture": version.architecture,
        "parameters": version.parameters,
        "context": version.context,
        "size": _distinct(version),
        "licence": version.licence,
        "source": version.source,
        "pinned": pinned,
        "remote_code": version.remote_code,
        "states": _states(version, pinned),
    }


def _distinct(version: "Version") -> int:
    """Bytes on the disk: a content that two artefacts share counts once."""
    from freehold.own.weights.bundle import contents

    return sum(file.size for file in contents(version))


def _states(version: "Version", pinned: bool) -> list[str]:
    from freehold.own.weights.choice import refusal

    able = [one for one in version.artefacts if not one.projector and refusal(one) is None]
    states = ["ready" if able else "may not serve"]
    states += [
        f"{one.quantisation} {one.verdict}" for one in version.artefacts if one.verdict in ("unverified", "quarantined")
    ]
    return states + (["pinned"] if pinned else [])


def cells(row: dict[str, Any]) -> list[object]:
    weights = ", ".join(one["quantisation"] for one in row["artefacts"])
    return [
        row["name"],
        row["version"] + ("" if row["current"] else " (old)"),
        weights,
        count(row["parameters"]),
        size(row["size"]),
        row["licence"],
        row["source"].reference,
        "; ".join(row["states"]),
    ]


def described(store: "Store", version: "Version", known: "Facts", tokens: int, needs: "list[Need]") -> dict[str, Any]:
    value = row(store, version)
    value["created"] = version.created
    value["layers"], value["embedding"], value["vocabulary"] = known.layers, known.embedding, known.vocabulary
    value["chat_template"], value["end_tokens"] = known.chat_template, list(known.end_tokens)
    value["artefacts"] = [_artefact(one) for one in version.artefacts]
    free = _free()
    value["memory"] = {
        "context": tokens,
        "free": free,
        "by_quantisation": [
            {
                "quantisation": need.quantisation,
                "weights": need.weights,
                "cache": need.cache,
                "total": need.total,
                "artefact": need.artefact,
                "fits": None if free is None else need.total <= free,
            }
            for need in needs
        ],
    }
    return value


def _artefact(artefact: "Artefact") -> dict[str, Any]:
    from freehold.own.weights.choice import refusal

    return {
        "id": artefact.id,
        "format": artefact.format,
        "quantisation": artefact.quantisation,
        "made": artefact.made,
        "of": artefact.of,
        "verdict": artefact.verdict,
        "refused": refusal(artefact),
        "evidence": artefact.evidence,
        "projector": artefact.projector,
        "size": artefact.size,
        "digest": artefact.digest,
        "files": artefact.files,
    }


def show(store: "Store", version: "Version", known: "Facts", tokens: int, needs: "list[Need]") -> None:
    pinned = version.version in store.pins(version.name)
    current = version.version == store.current(version.name)
    source = version.source
    lines: list[tuple[str, object]] = [
        ("model", f"own/{version.name}" if current else f"own/{version.full_name}"),
        ("version", version.version + (" (current)" if current else "") + (", pinned" if pinned else "")),
        ("from", source.reference + (f" on {source.endpoint}" if source.endpoint else "")),
        ("revision", source.revision),
        ("architecture", version.architecture or known.architecture),
        ("parameters", count(version.parameters or known.parameters)),
        ("context", version.context or known.context),
        ("vocabulary", known.vocabulary),
        ("licence", version.licence or known.licence or "none named"),
        ("chat template", f"{len(known.chat_template):,} characters" if known.chat_template else "none"),
        ("ends with", ", ".join(str(one) for one in known.end_tokens)),
        ("remote code", "allowed" if version.remote_code else "none"),
    ]
    output.table(["fact", "value"], lines)
    sys.stdout.write("\n")
    _show_artefacts(version)
    sys.stdout.write("\n")
    free = _free()
    fits = {True: "yes", False: "no"}
    output.table(
        [
            "memory",
            output.Column("weights", right=True),
            output.Column(f"cache for {output.tokens(tokens) or 0}", right=True),
            output.Column("together", right=True),
            "fits now",
            "in the store",
        ],
        [
            [
                need.quantisation,
                size(need.weights),
                size(need.cache),
                size(need.total),
                None if free is None else fits[need.total <= free],
                need.artefact or "no, estimated",
            ]
            for need in needs
        ],
    )


def _show_artefacts(version: "Version") -> None:
    from freehold.own.weights.choice import refusal

    rows = [
        [
            one.id,
            one.made + (f" from {one.of}" if one.of else ""),
            one.verdict,
            refusal(one) or ("a projector, loaded beside another" if one.projector else "yes"),
            len(one.files),
            size(one.size),
        ]
        for one in version.artefacts
    ]
    columns: list[output.Column | str] = [
        output.Column("artefact", whole=True),
        "made",
        "verdict",
        "may serve",
        output.Column("files", right=True),
        output.Column("size", right=True),
    ]
    output.table(columns, rows)
    _show_evidence(version)


def _show_evidence(version: "Version") -> None:
    """What the parity check found, as `freehold check` shows it."""
    import msgspec

    from freehold.cli.check import FIELDS, cells
    from freehold.own.parity.compare import Report

    rows, other = [], []
    for one in version.artefacts:
        if not one.evidence:
            continue
        try:
            rows.append(cells(one, msgspec.convert(one.evidence, Report)))
        except msgspec.ValidationError:
            other.append(one.id)
    if rows:
        sys.stdout.write("\n")
        output.table([*FIELDS], rows)
    for name in other:
        output.say(f"{name} was checked by another version of freehold; --json prints what it found")


def size(value: int) -> str:
    from freehold.own.memory import shown

    return shown(value)


def count(value: int | None) -> str | None:
    """Parameters as people say it: 8.03B, 135M, 90k."""
    if value is None:
        return None
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return str(value)


def _free() -> int | None:
    from freehold.own.memory import available

    return available()
