"""One request's part in the response cache: looked up, answered, or noted to be kept (responses.py says what holds).

What is kept is what the client was sent, noted on its way: a whole answer as it is, a stream by standing before this
one exchange's `write` and `end`. Nothing is kept of an answer that did not come to its end.
"""

import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from freehold.admit.keys import Principal
from freehold.call.attempts import Answer
from freehold.call.operation import Operation, Ways
from freehold.call.talk import Talk
from freehold.check.stream import guard_reply
from freehold.classify import Facts
from freehold.decide import Plan
from freehold.dialects.conversation import Reply, Usage
from freehold.errors import ClientGone, FreeholdError
from freehold.labels import Kind
from freehold.record.cache import Held, Partition
from freehold.record.entries import Cached, Intent, Settlement
from freehold.serve.cache.keep import Job
from freehold.serve.cache.key import ASKED as HEADER
from freehold.serve.cache.key import Key, cache_control, excluded, key_of
from freehold.serve.cache.render import Answered, Unfit, batched, named_anew, renamed, streamed, unpacked, whole
from freehold.serve.cache.similar import Calibration
from freehold.serve.endpoints import Endpoint
from freehold.serve.exchange import Exchange, line
from freehold.serve.learning import in_words
from freehold.serve.safety.checks import BLOCKED, Checked
from freehold.serve.safety.noted import count_all, in_answer, in_request, told_of

if TYPE_CHECKING:
    from freehold.serve.cache.responses import ResponseCache
    from freehold.serve.gateway import Gateway

MOST_BODY: Final = 128 * 1024
"""Bytes of a request that is looked up: decoding and sorting it takes about a millisecond in the event loop."""
Keep = Callable[[], Coroutine[Any, Any, None]]
_WHOLE = Ways()
_DECODER = msgspec.msgpack.Decoder(Answered)
_MISS = line(HEADER, b"miss")


class Ruling(Struct, frozen=True):
    """What holds for a key and a name."""

    ttl: float
    semantic: bool


class Ticket:
    """One request's part. `close` must run at the end, whatever happened."""

    def __init__(
        self,
        cache: "ResponseCache",
        gateway: "Gateway",
        endpoint: Endpoint,
        exchange: Exchange,
        principal: Principal,
        known: Facts,
        decision: Plan,
        operation: Operation,
        checked: Checked | None,
        ruling: Ruling,
    ) -> None:
        self._cache = cache
        self.gateway = gateway
        self._endpoint = endpoint
        self.exchange = exchange
        self.principal = principal
        self.known = known
        self._decision = decision
        self.operation = operation
        self._checked = checked
        self._ruling = ruling
        self.partition = Partition(cache.tenant(principal), str(known.label))
        self._key: Key | None = None
        """None: nothing is to be kept."""
        self._lead = b""
        """What others wait for."""
        self._told: Answer | None = None
        self._parts: list[bytes] | None = None
        self._size = 0
        self.question: tuple[bytes, bytes] | None = None
        """What the semantic cache will find the answer by: its group, and its features."""
        self._explored: tuple[Answered, Calibration] | None = None
        """What would have been given, and by what leave."""
        self.oldest: float | None = None
        """How old an answer may be at most, in seconds."""
        self.served = False
        self.header = _MISS
        """The line that says what the cache did."""

    # Looking

    async def look(self) -> None:
        refuse, discard, self.oldest = cache_control(self.exchange.headers)
        why = "asked" if refuse and discard else self._excluded()
        key = None if why is not None else self._key_of()
        if key is None:
            self._bypass(why or "unread")
            return
        if not discard:
            self._key = key
        if refuse:
            self._count("miss", "refresh")
            return
        if await self._exact(key):
            return
        life = self._cache.life
        if not self.known.stream and await life.follow(key.digest):
            if self.exchange.disconnected:
                raise ClientGone("the client left while the same was asked for somebody else")
            if await self._exact(key):
                return
        semantic = self._cache.semantic
        if semantic is not None and self._ruling.semantic and await semantic.look(self, key):
            return
        self._count("miss", "absent" if self._explored is None else "explored")

    @property
    def asked(self) -> str:
        """The name that is asked for."""
        return self.known.asked

    def explore(self, held: Held, calibrated: Calibration) -> None:
        """What was kept for a similar question is not given but compared with a new answer."""
        with contextlib.suppress(msgspec.MsgspecError):
            self._explored = _DECODER.decode(held.content), calibrated

    def begin(self) -> None:
        """The request is asked, then: others that ask the same may wait for it, until `close`."""
        if self._key is not None and self._cache.life.lead(self._key.digest):
            self._lead = self._key.digest

    def _excluded(self) -> str | None:
        """Why this request has nothing to do with the cache, in a word."""
        label, checked, exchange = self.known.label, self._checked, self.exchange
        if label is None or self.gateway.rulebook.rules.barred(label, Kind.CACHE) is not None:
            return "label"
        if checked is not None and (checked.changed or checked.asked):
            return "changed"
        tools = checked.ruling.tools if checked is not None else None
        if tools is not None and tools.asks and self.operation.peek.tools:
            return "approval"
        if len(exchange.given) > MOST_BODY:
            return "size"
        return excluded(self.operation, sampled=self._cache.settings.exact.sampled)

    def _key_of(self) -> Key | None:
        cache, gateway, known = self._cache, self.gateway, self.known
        return key_of(
            cache.life.store.secret,
            self.partition.tenant,
            self.partition.label,
            self._endpoint,
            self.exchange,
            self.principal,
            known.asked,
            cache.rules(gateway, self.principal.name, known.asked),
            strict=gateway.strict_for(self.exchange),
        )

    async def _exact(self, key: Key) -> bool:
        held = await self._cache.life.find(key.digest, self.partition)
        now = time.time()
        if held is None or (self.oldest is not None and now - held.made >= self.oldest):
            return False
        if not await self.serve(held, "exact", now):
            return False
        self._cache.life.hit(key.digest, now)
        return True

    def _bypass(self, why: str) -> None:
        self.header = line(HEADER, f"bypass; reason={why}".encode())
        self._count("bypass", why)

    def _count(self, result: str, why: str) -> None:
        self.gateway.metrics.cache(result, why)

    # Giving again

    async def serve(self, held: Held, how: str, now: float) -> bool:
        """Answers with what was kept; False where it may not be given, or cannot be read any more."""
        began = time.time_ns()
        try:
            answered = _DECODER.decode(held.content)
            if not self._may_answer(answered):
                return False
            told: list[str] = list(self._checked.told) if self._checked is not None else []
            body, parts = self._rendered(answered, int(now), told)
        except (msgspec.MsgspecError, UnicodeError, LookupError, TypeError, ValueError, FreeholdError, Unfit):
            return False
        self.gateway.limits.take(self.principal, 0)
        self.served = True
        age = max(0, int(now - held.made))
        lines = self._lines(answered, told) + line(HEADER, b"hit; age=%d" % age)
        exchange = self.exchange
        identity = exchange.request_id.encode()
        if parts is None:
            kind = line(b"content-type", answered.content_type or b"application/json")
            exchange.answer(200, b"%bx-request-id: %b\r\n%b" % (kind, identity, lines), body)
        else:
            kind = line(b"content-type", self._endpoint.stream)
            exchange.begin(200, b"%bcache-control: no-cache\r\nx-request-id: %b\r\n%b" % (kind, identity, lines))
            for part in parts:
                if exchange.blocked:
                    await exchange.drain()
                exchange.write(part)
            exchange.end()
        self._note(answered, how, began, told)
        return True

    def _may_answer(self, answered: Answered) -> bool:
        """Whether who made an answer may answer this request, now, with the same weights."""
        attempts = {deployment.name: deployment for deployment in self._decision.attempts}
        deployment = attempts.get(answered.deployment)
        if deployment is None:
            resting = any(d.deployment == answered.deployment and not d.lasting for d in self._decision.dropped)
            deployment = self.gateway.catalog.deployments.get(answered.deployment) if resting else None
        return deployment is not None and self._cache.stamp(deployment) == answered.stamp

    def _rendered(self, answered: Answered, now: int, told: list[str]) -> tuple[bytes, list[bytes] | None]:
        """The body of a whole answer, or the parts of a stream."""
        client, said = self._endpoint.client, answered.said
        if said is None:
            return named_anew(answered.body, self.exchange.request_id), None
        reply = self._guarded(renamed(client, unpacked(said)), told)
        operation = self.operation
        ways = operation.ways if isinstance(operation, Talk) else _WHOLE
        if not self.known.stream:
            return whole(client, reply, now, ways), None
        include = operation.peek.include_usage
        return b"", batched(streamed(client, reply, now, ways, include=include))

    def _guarded(self, reply: Reply, told: list[str]) -> Reply:
        """The reply as the rules of this key and name let it be shown. Raises Unfit where it has to be made anew."""
        policy = self._checked.ruling.answer if self._checked is not None else None
        if policy is None:
            return reply
        tools = self._checked.ruling.tools if self._checked is not None and self.operation.peek.tools else None
        shown, guard = guard_reply(reply, policy, tools=tools)
        if guard.verdicts and self.gateway.config.labels.answers:
            raise Unfit("it would raise the label of its conversation")
        monitor = policy.mode == "monitor"
        count_all(guard.verdicts, self.gateway.metrics.check, monitor=monitor)
        told += told_of(guard.verdicts)
        return reply if monitor else shown

    def _lines(self, answered: Answered, told: list[str]) -> bytes:
        lines = line(b"x-freehold-deployment", answered.deployment.encode("ascii", "replace"))
        lines += line(b"x-freehold-reason", b"cached")
        if answered.lost:
            lines += line(b"x-freehold-lost", ", ".join(answered.lost).encode("ascii", "replace"))
        if told:
            lines += line(b"x-freehold-checks", ", ".join(told).encode("ascii", "replace"))
        return lines

    def _note(self, answered: Answered, how: str, began: int, told: list[str]) -> None:
        """One entry in the journal, and the metrics. `told`: what was found in the request and in the answer."""
        gateway, known, exchange, checked = self.gateway, self.known, self.exchange, self._checked
        before = back = ""
        if told and checked is not None:
            before = in_request(checked)
            back = in_answer(told, monitor=checked.ruling.monitor)
        outcome, error = ("blocked", BLOCKED) if _stops(back) else ("ok", "")
        used = answered.usage or Usage()
        spent = (time.time_ns() - began) // 1000
        intent = Intent(
            f"{exchange.request_id}-1", exchange.request_id, began, 1, self.principal.name, known.asked,
            answered.deployment, answered.provider, answered.model, self._endpoint.client, answered.owned,
            known.stream, 0, gateway.version, "cached" if how == "exact" else f"cached: {how}", in_words(known.label),
            found=before,
        )  # fmt: skip
        end = Settlement(
            intent.call, outcome, 200, used.uncached, used.cache_read, used.cache_write_5m, used.cache_write_1h,
            used.output, used.reasoning, used.audio_input, used.audio_output, used.estimated, spent, spent, error=error,
            cached=True, found=back,
        )  # fmt: skip
        gateway.journal.append(Cached(intent, end))
        self._count("hit", how)
        total = int((gateway.now() - exchange.started) * 1e6)
        gateway.metrics.observe(("cache", "cache", self._endpoint.client, "200"), total, 0, 0, None)

    # Keeping

    def whole(self, answer: Answer) -> None:
        """A whole answer is about to be sent."""
        if self._key is not None:
            self._told, self._parts = answer, [answer.body]
            self._size = len(answer.body)

    def stream(self, answer: Answer, keep: Keep | None) -> Keep | None:
        """A stream is about to be sent: from now on what the client gets is noted, until it is too much. Returns what
        is to be called when the answer is complete, `keep` being called too."""
        if self._key is None:
            return keep
        exchange, noted = self.exchange, list[bytes]()
        write, end = exchange.write, exchange.end
        limit = 8 * 1024 * self._cache.settings.answer_kb

        def note(data: bytes) -> None:
            self._size += len(data)
            if self._size <= limit:
                noted.append(data)
            else:
                noted.clear()

        def written(data: bytes) -> None:
            note(data)
            write(data)

        def ended(data: bytes = b"") -> None:
            note(data)
            end(data)

        # On this one exchange: nobody else's pays for it.
        exchange.write, exchange.end = written, ended  # type: ignore[method-assign]

        async def complete() -> None:
            if keep is not None:
                await keep()
            self._told, self._parts = answer, noted

        return complete

    def close(self) -> None:
        """The request is over, well or not."""
        key, told, parts = self._key, self._told, self._parts
        vars(self.exchange).pop("write", None)
        vars(self.exchange).pop("end", None)
        if key is not None and told is not None and parts:
            self._keep(key, told, b"".join(parts))
        if self._lead:
            self._cache.life.led(self._lead)

    def _keep(self, key: Key, answer: Answer, body: bytes) -> None:
        cache, deployment, stream = self._cache, answer.target.deployment, answer.relay is not None
        relay = answer.relay
        usage = relay.usage if relay is not None else answer.receipt.usage if answer.receipt is not None else None
        answered = Answered(
            deployment.name, deployment.provider, deployment.model, deployment.owned, cache.stamp(deployment),
            [name[:200] for name in answer.losses[:50]], usage, content_type=answer.content_type,
        )  # fmt: skip
        job = Job(
            self.partition, self.known.asked, key.digest, self._ruling.ttl, self._endpoint.client,
            isinstance(self.operation, Talk), stream, self.exchange.given, body, answered, cache.settings,
            self.question, self._explored,
        )  # fmt: skip
        cache.life.job(key.digest, lambda: job.run(cache.life.store))


def _stops(found: str) -> bool:
    """Whether what was found in an answer keeps it from the client."""
    return any(one.endswith(("=block", "=ask")) for one in found.split(","))
