"""`<think>...</think>` in the text of an answer, as open models write their thoughts where nobody parses them."""

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


def split_thinking(content: str) -> tuple[str, str]:
    """`(thoughts, answer)` of content that starts with `<think>`, or whose `<think>` stood in the chat template."""
    opened = content.lstrip().startswith(THINK_OPEN)
    head, closed, rest = content.partition(THINK_CLOSE)
    if not closed and not opened:
        return "", content
    thought = head.lstrip().removeprefix(THINK_OPEN) if opened else head
    if not closed:
        return thought.strip(), ""
    if not opened and THINK_OPEN in head:
        return "", content
    return thought.strip(), rest.lstrip()


class ThinkTags:
    """The same for a stream, but only where `<think>` opens the text."""

    __slots__ = ("_held", "inside")

    def __init__(self) -> None:
        self.inside: bool | None = None
        """None before the first text, True inside the tags, False after."""
        self._held = ""
        """Text that may be the beginning of a tag."""

    def feed(self, text: str) -> tuple[str, str]:
        """`(thought, answer)` of the next piece. A tag cut in half is held back."""
        text = self._held + text
        self._held = ""
        if self.inside is None:
            head = text.lstrip()
            if THINK_OPEN.startswith(head):
                self._held = text
                return "", ""
            if not head.startswith(THINK_OPEN):
                self.inside = False
                return "", text
            self.inside = True
            text = head[len(THINK_OPEN) :].lstrip()
        thought, closed, answer = text.partition(THINK_CLOSE)
        if closed:
            self.inside = False
            return thought, answer.lstrip()
        keep = next((n for n in range(len(THINK_CLOSE) - 1, 0, -1) if text.endswith(THINK_CLOSE[:n])), 0)
        if keep:
            self._held = text[-keep:]
            thought = text[:-keep]
        return thought, ""

    def close(self) -> tuple[str, str]:
        """What was held back and never became a tag."""
        held, self._held = self._held, ""
        return (held, "") if self.inside else ("", held)
