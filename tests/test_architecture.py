"""The rules of the house: who may import whom, and how big a file may be. When one hurts, change the design."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "freehold"

LEAVES = {"errors", "home", "tables", "__init__"}
"""Every room may import these; they import no room."""

ROOMS: dict[str, set[str]] = {
    "dialects": set(),
    "config": {"dialects"},
    "labels": {"config"},
    "classify": {"dialects", "config", "labels"},
    "decide": {"dialects", "config", "labels", "classify"},
    "check": {"dialects", "config", "labels"},
    "call": {"dialects", "config", "labels", "decide"},
    "record": {"dialects", "config", "labels"},
    "egress": {"config", "labels", "call", "record"},
    "own": {"call", "record", "config"},
    "admit": {"record", "config"},
    "measure": {"dialects", "config", "labels", "classify", "decide", "call", "record"},
    "fake": {"dialects"},
    "serve": {
        "dialects", "config", "labels", "classify", "decide", "check", "call", "record", "own", "admit", "egress",
    },
    "cli": {
        "serve", "dialects", "config", "labels", "classify", "decide", "check", "call", "record", "own", "admit",
        "measure", "fake", "egress",
    },
}  # fmt: skip

LONG: dict[str, str] = {
    "dialects/conversation.py": "the one vocabulary of all dialects: data only, read as a whole",
}
"""Files over 400 lines, each with its reason. Nothing may be over 600."""

PIPELINE_LIMIT = 200
SOCKET_OPENERS = {
    "create_connection",
    "open_connection",
    "create_unix_connection",
    "sock_connect",
    "urlopen",
    "connect",
}


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    part = path.relative_to(SOURCE).parts[0]
    return part.removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Names under `freehold` that a module imports, at any depth of its code."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("freehold.")}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_rooms(path: Path) -> None:
    here = room(path)
    if here in ("__main__",):
        return
    allowed = ROOMS.get(here, set()) | LEAVES | {here, "__version__"}
    forbidden = imports(ast.parse(path.read_text())) - allowed
    assert not forbidden, f"{path.relative_to(SOURCE)} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_small(path: Path) -> None:
    name = str(path.relative_to(SOURCE))
    lines = len(path.read_text().splitlines())
    assert lines <= 600, f"{name} has {lines} lines: split it by idea"
    if lines > 400:
        assert LONG.get(name), f"{name} has {lines} lines: split it, or write its reason down in LONG"
    else:
        assert name not in LONG, f"{name} is small again: take it out of LONG"


def test_the_way_of_a_request_fits_on_a_page() -> None:
    assert len((SOURCE / "serve" / "pipeline.py").read_text().splitlines()) <= PIPELINE_LIMIT


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_transport_opens_sockets_outward(path: Path) -> None:
    if path.is_relative_to(SOURCE / "call" / "transport"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SOCKET_OPENERS:
            assert isinstance(node.func.value, ast.Name), ast.dump(node.func)
            assert node.func.value.id == "sqlite3", f"{path.relative_to(SOURCE)}:{node.lineno} opens a connection"


def test_every_module_says_what_it_is() -> None:
    silent = [str(path.relative_to(SOURCE)) for path in files() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_every_room_has_a_rule() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(ROOMS)
