"""The engine with the media endpoints: `FakeProvider` uses this one.

Rules, pauses, statuses and faults work as for every other reply, except faults that write a generated text anew.
"""

from freehold.fake import media
from freehold.fake.ask import Ask, Route
from freehold.fake.engine import _UNSPOKEN, BY_FAMILY, NOTHING, Engine, Prepared, _headers
from freehold.fake.wire import Draft


class MediaEngine(Engine):
    """Answers media.py's paths, and Gemini where it is asked for pictures or sound; the rest as its base does."""

    def _route(self, url: bytes) -> Route:
        return media.route(url) or super()._route(url)

    def _answered(self, ask: Ask) -> Prepared:
        return self._media(ask) if media.handles(ask) else super()._answered(ask)

    def _media(self, ask: Ask) -> Prepared:
        """Raises BadRequest for a request that the provider would refuse."""
        if ask.operation in media.OPERATIONS:
            ask = media.read(ask.route, ask.request)
        rule = self._rule(ask)
        reply = self._reply(ask, ask.request.headers.get(b"x-fake"), rule)
        speaker = BY_FAMILY[ask.family]
        if (reply.status or 200) >= 400:
            return self._error(ask, speaker, reply, rule)
        made = media.make(ask)
        count = len(made.parts)
        headers = _headers(speaker, made.kind, reply)
        draft = Draft(ask, reply, NOTHING, _UNSPOKEN, 200, headers, made.parts, made.streamed, 0, count)
        prepared = self._framed(draft, rule)
        if made.streamed and not reply.burst:
            prepared.first, prepared.last = 1, 1 + count
        if prepared.status < 300:
            prepared.input_tokens, prepared.output_tokens = made.input_tokens, made.output_tokens
        return prepared
