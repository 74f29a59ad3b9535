"""Walks the code for ways out: whatever opens a connection, starts a program or hands something to who does.

The walk knows what Python offers (`MODULES`, `CALLS`) and our own transport. Each function that uses one of them is a
way out and must be declared (tests/test_outward_paths.py), with one of three rules:

Asks      asks the lattice itself, in lines before the first use: a call of one of its `questions`
Through   does not ask: everybody who uses it is a way out too, and must be declared in turn
Carries   nothing of any request ever goes this way; `why` says what does

A name is resolved by its file's imports, so that another name for it (`import x as y`) does not hide it; methods are
known by their name alone, whose ever they are: one too many is declared rather than one forgotten.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

TRANSPORT = "freehold.call.transport"
_MODULES = """
aiohttp anthropic asyncssh boto3 botocore ftplib google grpc http.client httpx httpx2 huggingface_hub imaplib mcp
multiprocessing.connection nntplib openai opentelemetry paramiko poplib psycopg psycopg2 pymongo redis requests
sentry_sdk smtplib socketserver statsd subprocess telnetlib tornado urllib.request urllib3 websocket websockets xmlrpc
zmq
"""
_CALLS = """
connect connect_ex create_connection create_datagram_endpoint create_unix_connection execl execle execlp execv execve
execvp execvpe getaddrinfo gethostbyaddr gethostbyname gethostbyname_ex getfqdn getnameinfo open_connection
open_unix_connection popen posix_spawn posix_spawnp sendmsg sendto sock_connect sock_sendto spawnl spawnv spawnve
subprocess_exec subprocess_shell create_subprocess_exec create_subprocess_shell urlopen urlretrieve
"""
MODULES = frozenset(_MODULES.split())
"""Importing one of these makes a file a way out, wherever it is used in it."""
CALLS = frozenset(_CALLS.split())
"""Functions and methods of these names where they are called, whosever they are, or handed on out of a module."""
HARMLESS = frozenset({("sqlite3", "connect")})
FIRST = frozenset(
    {
        (TRANSPORT, "fetch"),
        (TRANSPORT, "Pool"),
        (f"{TRANSPORT}.fetch", "fetch"),
        (f"{TRANSPORT}.pool", "Pool"),
        ("os", "system"),
    }
)
"""Functions and classes by their module."""


class Asks(NamedTuple):
    """`questions` are names of what is called; one of them must be, in a line before the first use."""

    sink: str
    questions: tuple[str, ...]


class Through(NamedTuple):
    """`name` is what others call it by, where that is not its own: the class, for a method."""

    sink: str
    name: str = ""


class Carries(NamedTuple):
    sink: str
    why: str


Rule = Asks | Through | Carries


class Use(NamedTuple):
    """`where` is `room/file.py::Class.function`, or `room/file.py` for what stands outside of one."""

    where: str
    line: int
    what: str


class Module(NamedTuple):
    """One file: its path under src/freehold, its tree, and the words in its text."""

    path: str
    tree: ast.Module
    words: frozenset[str]

    @property
    def name(self) -> str:
        return "freehold." + self.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def parsed(path: str, text: str) -> Module:
    return Module(path, ast.parse(text), frozenset(re.findall(r"\w+", text)))


def _typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """What each imported name stands for: module and name, the name empty for a module."""
    found: dict[str, tuple[str, str]] = {}
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = (alias.name if alias.asname else first, "")
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not _typing(child):
            yield from _walk(child)


def _scopes(node: ast.AST, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.AST]]:
    """Each node with the classes and the function that it stands in. What stands in a function of a function is the
    outer one's: a closure is how it does its work. Annotations are nobody's use."""
    for child in ast.iter_child_nodes(node):
        if _typing(child) or isinstance(child, ast.arg):
            continue
        inside = where
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not _in_function(node, where):
            inside = (*where, child.name)
        yield inside, child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in (*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)):
                yield inside, part
                yield from _scopes(part, inside)
            for part in child.body:
                yield inside, part
                yield from _scopes(part, (*inside, "()") if inside[-1:] != ("()",) else inside)
        elif isinstance(child, ast.AnnAssign):
            if child.value is not None:
                yield inside, child.value
                yield from _scopes(child.value, inside)
        else:
            yield from _scopes(child, inside)


def _in_function(node: ast.AST, where: tuple[str, ...]) -> bool:
    return bool(where) and where[-1] == "()"


def _place(module: Module, where: tuple[str, ...]) -> str:
    names = [name for name in where if name != "()"]
    return f"{module.path}::{'.'.join(names)}" if names else module.path


def uses(
    module: Module, ways: Collection[tuple[str, str]] = FIRST, methods: Collection[tuple[str, str]] = ()
) -> list[Use]:
    """Every use of a way out in a file. `ways` are module and name, `methods` path and name of such methods."""
    telling = {"acquire", *CALLS, *(name for _, name in (*ways, *methods)), *(one.split(".")[0] for one in MODULES)}
    if telling.isdisjoint(module.words):
        return []
    known = _imports(module.tree)
    own = {name for where, name in ways if where == module.name}
    called = {id(node.func): node for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    found: dict[Use, None] = {}

    def note(where: tuple[str, ...], node: ast.AST, what: str) -> None:
        found[Use(_place(module, where), getattr(node, "lineno", 0), what)] = None

    for where, node in _scopes(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported(node):
                if _networked(name):
                    note(where, node, f"import {name}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            target = known.get(node.id)
            ours = target in ways or (target is None and node.id in own)
            if ours or (target is not None and target[1] in CALLS and target not in HARMLESS):
                note(where, node, node.id)
        elif isinstance(node, ast.Attribute):
            owner = known.get(node.value.id) if isinstance(node.value, ast.Name) else None
            full = (".".join(filter(None, owner)), node.attr) if owner else ("", node.attr)
            call = called.get(id(node))
            theirs = node.attr in CALLS and full not in HARMLESS and (owner is not None or call is not None)
            taken = node.attr == "acquire" and call is not None and bool(call.args)  # that of a lock has no arguments
            if full in ways or _method(module, node.attr, methods) or theirs or taken:
                note(where, node, node.attr)
        elif isinstance(node, ast.Call) and (name := _loaded(node)) is not None and _networked(name):
            note(where, node, f"import {name}")
    return list(found)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _loaded(node: ast.Call) -> str | None:
    """The module that a call imports by its name."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    first = node.args[0] if node.args else None
    if name in ("import_module", "__import__") and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def _networked(name: str) -> bool:
    return any(name == one or name.startswith(one + ".") for one in MODULES)


def _method(module: Module, name: str, methods: Collection[tuple[str, str]]) -> bool:
    """Whether a method of this name is a way out: a private one only in the file that it stands in."""
    return any(name == one and (not name.startswith("_") or path == module.path) for path, one in methods)


def _function(module: Module, where: str) -> ast.AST | None:
    node: ast.AST = module.tree
    for name in where.partition("::")[2].split("."):
        node = next(
            (
                child
                for child in ast.iter_child_nodes(node)
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name == name
            ),
            node,
        )
    return node


def _asked(module: Module, where: str, questions: Iterable[str]) -> int | None:
    """The first line in which a question is asked."""
    node = _function(module, where)
    lines = [
        call.lineno
        for call in (ast.walk(node) if node is not None else ())
        if isinstance(call, ast.Call)
        and (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) in questions
    ]
    return min(lines, default=None)


HELP = (
    "{where}, line {line}, uses {what}: something may leave this machine there, and nobody has said what. Ask whether "
    "it may (`Rules.barred(label, Kind...)`, `serve.outward.declassified`), write a receipt for it "
    "(`serve.outward.outward`), and declare it in tests/test_outward_paths.py"
)


def complaints(modules: Iterable[Module], declared: Mapping[str, Rule], sinks: Collection[str]) -> list[str]:
    """What is wrong, in words: ways out that nobody declared, rules that are not kept, declarations of what is gone."""
    modules = list(modules)
    by_path = {module.path: module for module in modules}
    ways, methods = set(FIRST), set[tuple[str, str]]()
    for where, rule in declared.items():
        if isinstance(rule, Through):
            path, _, name = where.partition("::")
            module = parsed(path, "").name
            own = rule.name or name
            if "." in own:
                methods.add((path, own.rpartition(".")[2]))
            else:
                ways.add((module, own))
    found: dict[str, list[Use]] = {}
    wrong = []
    for module in modules:
        for use in uses(module, ways, methods):
            found.setdefault(use.where, []).append(use)
    for where, some in found.items():
        rule = declared.get(where) or declared.get(where.partition("::")[0])
        if rule is None:
            wrong.append(HELP.format(where=where, line=some[0].line, what=some[0].what))
            continue
        if isinstance(rule, Asks):
            asked = _asked(by_path[where.partition("::")[0]], where, rule.questions)
            first = min(use.line for use in some)
            if asked is None or asked > first:
                wrong.append(f"{where} must ask ({' or '.join(rule.questions)}) before line {first}, and does not")
    for where, rule in declared.items():
        used = where in found or any(place.startswith(where + "::") for place in found)
        if not used:
            wrong.append(f"{where} is declared, and is no way out any more: take its row out")
        if rule.sink not in sinks:
            wrong.append(f"{where} is declared as {rule.sink!r}, which is no kind of sink")
    return wrong
