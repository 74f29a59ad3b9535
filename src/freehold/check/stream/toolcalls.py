"""What a model may call a tool with: rules on the arguments of calls in answers, judged once they are whole.

A call is data on its way out, and whoever has got his words into the conversation may have written it. So it is judged
by what it says, not by who seems to have asked for it:

    tool_denied       the tool may not be called
    tool_host         a URL that leads to a host which is not listed
    tool_address      an address that is not public, in any way of writing it
    tool_path         a path outside the folders
    tool_shell        a character that means something to a shell
    tool_length       longer than allowed
    tool_clearance    something found by the detectors that the tool is not cleared for
    tool_arguments    not to be judged: no JSON, or one name twice, which programs read differently

All strings are looked at, wherever they stand in the arguments, names of fields as well, and JSON within a string. What
a tool makes of them is not known here: a link on the disk, a name that resolves to an inner address, a redirect are for
the tool to look at.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from freehold.check.detect import Finding, Rules, scan
from freehold.check.pseudonyms.placeholders import is_like
from freehold.check.stream.policy import Verdict
from freehold.check.stream.toolstrings import KEY, MOST, Rule, once, replaced, strings, wrong
from freehold.config.label_names import REGION, split_label
from freehold.config.schema_tools import ToolAction, Tools
from freehold.labels import Label
from freehold.labels.lattice import Clearance, may_flow

MOST_NAMES = 1000
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEVERE: Mapping[str, int] = {"allow": 0, "redact": 1, "ask": 2, "block": 3}


class Judged(Struct, frozen=True):
    """What becomes of a call: `arguments` as the client may see them, and what was wrong with them."""

    action: ToolAction
    arguments: str
    verdicts: tuple[Verdict, ...] = ()


class Named(Struct, frozen=True):
    """All that is said of one tool."""

    denied: bool
    rules: tuple[Rule, ...]
    clearances: tuple[Clearance, ...]

    @property
    def matters(self) -> bool:
        """Whether anything is said of it."""
        return self.denied or self.judged

    @property
    def judged(self) -> bool:
        """Whether its arguments have to be looked at."""
        return bool(self.rules or self.clearances)


class ToolPolicy:
    """The rules of one configuration. `monitor`: everything is judged, and nothing done.

    Raises ValueError for a clearance that is no label of `compartments`.
    """

    def __init__(self, settings: Tools, rules: Rules, compartments: frozenset[str], *, monitor: bool = False) -> None:
        self.monitor = monitor
        self.action = settings.action
        self._rules = rules
        self._allow = None if settings.allow is None else [_pattern(one) for one in settings.allow]
        self._deny = [_pattern(one) for one in settings.deny]
        self._cleared = [(_pattern(name), _clearance(text, compartments)) for name, text in settings.clearance.items()]
        self._said = [
            (
                _pattern(name),
                Rule(
                    None if one.hosts is None else tuple(host.lower().rstrip(".") for host in one.hosts),
                    one.inner,
                    None if one.roots is None else tuple(one.roots),
                    one.shell,
                    one.longest,
                    one.action or settings.action,
                ),
            )
            for name, one in settings.rules.items()
        ]
        self._known: dict[str, Named] = {}

    @property
    def offers(self) -> bool:
        """Whether there is anything to be said of the tools that a request offers."""
        return self._allow is not None or bool(self._deny)

    def named(self, name: str) -> Named:
        """Returns what is said of a tool. The case of letters makes no difference."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            found = self._known[name] = self._named(name.casefold())
        return found

    def _named(self, name: str) -> Named:
        denied = any(one.fullmatch(name) for one in self._deny)
        denied = denied or (self._allow is not None and not any(one.fullmatch(name) for one in self._allow))
        said = tuple(rule for pattern, rule in self._said if pattern.fullmatch(name))
        return Named(denied, said, tuple(cleared for pattern, cleared in self._cleared if pattern.fullmatch(name)))

    def clears(self, name: str, label: Label) -> bool:
        """Whether what carries `label` may go to a tool. One of which nothing is said is cleared for nothing."""
        clearances = self.named(name).clearances
        return bool(clearances) and all(may_flow(label, one) is None for one in clearances)

    def refused(self, name: str) -> bool:
        """Whether a tool may not even be offered to a model."""
        return self.named(name).denied and self.action in ("block", "redact") and not self.monitor

    @property
    def asks(self) -> bool:
        """Whether a person may have to be asked."""
        return not self.monitor and (self.action == "ask" or any(rule.action == "ask" for _, rule in self._said))

    def judge(
        self, name: str, arguments: str, *, custom: bool = False, choice: int = 0, granted: bool = False
    ) -> Judged:
        """Returns what becomes of a call. `custom`: the arguments are free text; `granted`: a person has approved what
        would be asked about."""
        said = self.named(name)
        call = _Call(self._rules, arguments, choice, granted)
        if said.denied:
            call.found("tool_denied", _sure(self.action))
        elif said.judged:
            call.look(said, custom, self.action)
        action: ToolAction = max(call.actions, key=_SEVERE.__getitem__, default="allow")
        shown = arguments
        if not self.monitor and action == "redact":
            shown = call.redacted()
        return Judged("allow" if self.monitor else action, shown, tuple(call.verdicts))


class _Call:
    """One call while it is judged."""

    def __init__(self, rules: Rules, arguments: str, choice: int, granted: bool) -> None:
        self._granted = granted
        self._rules = rules
        self._arguments = arguments
        self._choice = choice
        self._value: Any = arguments
        self._out: dict[tuple[str | int, ...], str] = {}
        """What stands in the place of a string that is to be redacted, by where it is."""
        self.verdicts: list[Verdict] = []
        self.actions: set[ToolAction] = set()

    def found(
        self, kind: str, action: ToolAction, label: Label | None = None, at: tuple[str | int, ...] | None = None
    ) -> None:
        """Notes what is wrong; `at` where it could be taken out, None: nowhere, so it is blocked instead."""
        if action == "ask" and self._granted:
            action = "allow"
        elif at is None:
            action = _sure(action)
        elif action == "redact":
            self._out[at] = f"[redacted {kind}]"
        self.actions.add(action)
        size = len(self._arguments)
        self.verdicts.append(Verdict("tool", self._choice, kind, kind, action, 1.0, label or Label(), 0, size))

    def look(self, said: Named, custom: bool, action: ToolAction) -> None:
        if len(self._arguments) > MOST:
            self.found("tool_length", "block")
            return
        if not custom and self._arguments.strip():
            try:
                self._value = json.loads(self._arguments, object_pairs_hook=once)
            except (ValueError, RecursionError):
                self.found("tool_arguments", _strictest(said, action))
        for rule in said.rules:
            if rule.longest is not None and len(self._arguments) > rule.longest:
                self.found("tool_length", rule.action)
        for at, key, text in strings(self._value):
            name = _CAMEL.sub("_", key).lower()
            for rule in said.rules:
                for kind in wrong(rule, name, text):
                    self.found(kind, rule.action, at=at if at and at[-1] is not KEY else None)
            if said.clearances:
                self._cleared(said.clearances, key, text, at, action)
        if said.clearances:
            self._whole(said.clearances, action)

    def _cleared(
        self, clearances: Sequence[Clearance], key: str, text: str, at: tuple[str | int, ...], action: ToolAction
    ) -> None:
        head = f'"{key}": "' if key else ""
        whole = f'{head}{text}"' if head else text
        for one in scan(whole, self._rules):
            if one.end > len(head) and self._above(clearances, one, whole):
                self.found("tool_clearance", action, one.label, at if at and at[-1] is not KEY else None)

    @staticmethod
    def _above(clearances: Sequence[Clearance], one: Finding, text: str) -> bool:
        """Whether a finding may not go there. A placeholder is nobody's data."""
        barred = any(may_flow(one.label, sink) is not None for sink in clearances)
        return barred and not is_like(text[one.start : one.end])

    def _whole(self, clearances: Sequence[Clearance], action: ToolAction) -> None:
        """What only all of it together says, such as a number under a name."""
        rest = json.dumps(replaced(self._value, self._out), ensure_ascii=False)
        if any(verdict.type == "tool_clearance" for verdict in self.verdicts) and action != "redact":
            return
        for one in scan(rest, self._rules):
            if self._above(clearances, one, rest):
                self.found("tool_clearance", action, one.label)

    def redacted(self) -> str:
        if not self._out:
            return self._arguments
        if isinstance(self._value, str) and () in self._out:
            return self._out[()]
        return json.dumps(replaced(self._value, self._out), ensure_ascii=self._arguments.isascii())


def _strictest(said: Named, action: ToolAction) -> ToolAction:
    return max((action, *(rule.action for rule in said.rules)), key=_SEVERE.__getitem__)


def _sure(action: ToolAction) -> ToolAction:
    """What cannot be redacted is blocked."""
    return "block" if action == "redact" else action


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in name.casefold().split("*")), re.DOTALL)


def _clearance(text: str, compartments: frozenset[str]) -> Clearance:
    label = Label(*split_label(text, compartments))
    regions = frozenset(one.removeprefix(REGION) for one in label.compartments if one.startswith(REGION))
    return Clearance(label.level, label.compartments, regions, f"the tool is cleared for {text}")
