"""What is known of one choice of an answer while it streams."""

from freehold.check.stream.arguments import Arguments
from freehold.check.stream.runs import Run
from freehold.check.stream.toolstrings import Whole
from freehold.dialects.conversation import Event, ToolStarted


class ChoiceState:
    __slots__ = ("call", "finished", "heard", "open", "runs", "tools", "waiting", "whole")

    def __init__(self) -> None:
        self.call: ToolStarted | None = None
        """The call that is kept back, its arguments in `whole`; what came after it stands in `waiting`."""
        self.whole: Whole | None = None
        self.waiting: list[Event] = []
        self.heard: dict[int, tuple[ToolStarted, Whole]] = {}
        """Calls that are only told of."""
        self.runs: dict[str, Run] = {}
        self.open: str = ""
        """The kind of the run in progress."""
        self.tools: dict[int, Arguments | Run] = {}
        self.finished = False
