"""Chat completions whose text holds calls, rewritten to have them as `tool_calls`: whole, or chunk by chunk.

Nothing else of an answer changes, its usage and fields we do not know included. An answer that was cut off stays so:
its finish reason is `length`, and a call has the arguments that were written.
"""

import secrets
from collections.abc import Callable, Collection
from typing import Any

from freehold.own.tools.reader import Begun, CallReader, Piece, Text

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LAST = ("choices", "usage", "timings")
"""What only the last of several chunks in the place of one may hold."""


def new_id() -> str:
    """Nine letters and digits: Mistral's templates refuse any other when the call comes back."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(9))


class CallWriter:
    """Implements `freehold.call.rewritten.Rewriter` for one answer."""

    __slots__ = ("_forced", "_make_id", "_names", "_readers", "_several")

    def __init__(
        self, names: Collection[str], *, forced: bool, several: bool, make_id: Callable[[], str] = new_id
    ) -> None:
        """See `CallReader`."""
        self._names = names
        self._forced = forced
        self._several = several
        self._make_id = make_id
        self._readers: dict[Any, CallReader] = {}

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        choices = completion.get("choices")
        if not isinstance(choices, list):
            return completion
        return {**completion, "choices": [self._whole(one) if isinstance(one, dict) else one for one in choices]}

    def chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What stands in the place of `chunk`; None: itself."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return None
        made = [self._delta(one) if isinstance(one, dict) else None for one in choices]
        if all(one is None for one in made):
            return None
        written: list[dict[str, Any]] = []
        for old, new in zip(choices, made, strict=True):
            written += [old] if new is None else new
        if not written:
            return [{**chunk, "choices": []}] if chunk.get("usage") else []
        head = {name: value for name, value in chunk.items() if name not in _LAST}
        return [*({**head, "choices": [one]} for one in written[:-1]), {**chunk, "choices": written[-1:]}]

    def _whole(self, choice: dict[str, Any]) -> dict[str, Any]:
        message = choice.get("message")
        if not isinstance(message, dict) or not isinstance(text := message.get("content"), str):
            return choice
        reader = self._reader()
        said: list[str] = []
        calls: list[dict[str, Any]] = []
        for piece in reader.feed(text) + reader.close():
            if isinstance(piece, Text):
                said.append(piece.text)
            elif isinstance(piece, Begun):
                calls.append(self._call(piece.name))
            else:
                calls[-1]["function"]["arguments"] += piece.text
        message = {**message, "content": "".join(said) or (None if self._forced or calls else "")}
        finish = _finish(choice.get("finish_reason"), reader)
        if not calls:
            return {**choice, "message": message, "finish_reason": finish}
        if "logprobs" in choice:
            choice = {**choice, "logprobs": None}
        return {**choice, "message": {**message, "tool_calls": calls}, "finish_reason": finish}

    def _delta(self, choice: dict[str, Any]) -> list[dict[str, Any]] | None:
        delta = choice.get("delta")
        given = delta if isinstance(delta, dict) else {}
        text = given.get("content")
        text = text if isinstance(text, str) else ""
        reason = choice.get("finish_reason")
        if not text and reason is None:
            return None
        index = choice.get("index") or 0
        reader = self._readers.get(index)
        if reader is None:
            reader = self._readers[index] = self._reader()
        if reader.plain:
            return None
        before = reader.called
        pieces = reader.feed(text)
        if reason is not None:
            pieces += reader.close()
        if pieces == [Text(text)] or (not pieces and not text and _finish(reason, reader) == reason):
            return None
        deltas = self._deltas(pieces, before)
        rest = {name: value for name, value in given.items() if name != "content" and value is not None}
        if rest:
            deltas[:1] = [{**rest, **(deltas[0] if deltas else {})}]
        out: list[dict[str, Any]] = [{"index": index, "delta": one, "finish_reason": None} for one in deltas]
        if reason is not None:
            out.append({**choice, "delta": {}, "finish_reason": _finish(reason, reader)})
        return out

    def _deltas(self, pieces: list[Piece], number: int) -> list[dict[str, Any]]:
        """`number` calls have begun before."""
        out: list[dict[str, Any]] = []
        for piece in pieces:
            if isinstance(piece, Text):
                out.append({"content": piece.text})
            elif isinstance(piece, Begun):
                out.append({"tool_calls": [{"index": number, **self._call(piece.name)}]})
                number += 1
            else:
                out.append({"tool_calls": [{"index": number - 1, "function": {"arguments": piece.text}}]})
        return out

    def _call(self, name: str) -> dict[str, Any]:
        return {"id": self._make_id(), "type": "function", "function": {"name": name, "arguments": ""}}

    def _reader(self) -> CallReader:
        return CallReader(self._names, forced=self._forced, several=self._several)


def _finish(reason: Any, reader: CallReader) -> Any:
    return "tool_calls" if reason == "stop" and reader.called and reader.whole else reason
