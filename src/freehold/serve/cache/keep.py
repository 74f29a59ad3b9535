"""An answer on its way into the cache: what the thread of `life.py` does with it."""

import time

import msgspec
from msgspec import Struct

from freehold.config.schema_cache import Cache
from freehold.dialects.conversation import Reply
from freehold.record.cache import CacheStore, Partition
from freehold.serve.cache.key import twofold
from freehold.serve.cache.render import Answered, Unfit, keepable, packed, read, unpacked
from freehold.serve.cache.similar import Calibration, differ, made_of, watched


class Job(Struct):
    """One answer to be kept, for the thread."""

    partition: Partition
    asked: str
    digest: bytes
    ttl: float
    client: str
    talk: bool
    stream: bool
    given: bytes
    body: bytes
    answered: Answered
    settings: Cache
    question: tuple[bytes, bytes] | None = None
    """For the semantic cache: group and features."""
    explored: tuple[Answered, Calibration] | None = None
    """What a similar question would have been given."""

    def run(self, store: CacheStore) -> None:
        """Keeps the answer if it is fit. Raises sqlite3.Error."""
        settings, answered = self.settings, self.answered
        if twofold(self.given):
            return
        try:
            if self.talk:
                reply = read(self.client, self.body, stream=self.stream)
                self._compare(store, reply)
                keepable(reply, tools=settings.exact.tools)
                reply.usage = reply.usage or answered.usage
                answered.usage = answered.usage or reply.usage
                answered.said = packed(reply)
            else:
                answered.body = self.body
            content = msgspec.msgpack.encode(answered)
        except (Unfit, msgspec.EncodeError, UnicodeEncodeError, OverflowError):
            return
        if len(content) > settings.answer_kb * 1024:
            return
        now = time.time()
        limit = settings.megabytes << 20
        store.keep(self.digest, self.partition, self.asked, now, now + self.ttl, content, limit)
        if self.question is not None:
            place, features = self.question
            store.keep_question(place, self.digest, now + self.ttl, features, settings.semantic.entries)

    def _compare(self, store: CacheStore, reply: Reply) -> None:
        if self.explored is None or self.explored[0].said is None:
            return
        before, calibrated = self.explored
        assert before.said is not None
        differs, share = differ(unpacked(before.said), reply), self.settings.semantic.differ

        def change(content: bytes | None) -> bytes:
            return msgspec.json.encode(watched(content).compare(made_of(calibrated), differs, share))

        store.update_watch(calibrated.name, change)
