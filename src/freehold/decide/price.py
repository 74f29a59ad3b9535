"""What a call is expected to cost now, in US dollars: its tokens, and what its load costs everybody else.

Tokens are priced by the deployment's rates, those found in its prompt cache at the cached rate. So the price of moving
a conversation needs no rule of its own: the old place is asked with the tokens it has cached and the new one with none,
and the difference between the two is what moving costs (`cache_loss`).

Rates say nothing of load. A token of an owned model costs nothing while nobody waits and anything once somebody does;
a rented one costs its list price until the rate limit is used up. Both are made comparable with money by the value of a
second of waiting, `Terms.second`. Capacity that is bought already is worth what using it up costs those who come next
(a Pigouvian price of congestion; for queues Naor 1969, Mendelson 1985):

    waiting  =  second * ( V(W)  +  r * (V(W) + p * (V(W + h/2) - V(W))) )

    W        seconds until it begins to work on this request: the longest of `Signals.wait`, of (n - k + 1) s / k where
             n requests are there and all k places are taken, and of s times how far its key-value cache is between
             nearly full and full, squared: then a request must end, or be thrown out and read once more
    V(w)     max(0, w - patience): waiting that counts. Bulk work is patient, and half a second nobody minds (`Terms`)
    s, h     seconds this request holds a place, and h = s / k of the whole engine's time
    r        (s / usual s) * load / (1 - load): those who come before the queue has gone, each delayed by h. A job of
             length h that meets unfinished work W delays later ones by arrivals * h * (W + h/2) / (1 - load) in an
             M/G/1 queue served in order: all who arrive while the work that was there lasts, and half of h for those
             after. Averaged over W this is the textbook toll, load * dW/dload of the Pollaczek-Khinchine formula
    p        the chance that it makes anybody wait at all: 1 where no place is free, else B(k, a) / B(n, a) with
             Erlang's loss formula B and a = load * k. That is the exact cost of one more customer, in units of a lost
             one, when n of k servers are busy (Krishnan 1987, from the value function of the M/M/k/k queue): next to
             nothing while most places are free, and rising ever faster

`load` is a constant, the share of the time up to which an engine is meant to be busy, and not measured: the price is
asked for while work spills to others, when the measured load says nothing but that it spills. What is left out: that
requests which are answered together slow each other down a little (a larger batch has a longer step). Each part grows
with n, W and the share of the key-value cache in use, and none is ever negative.

Rented capacity that runs out is priced alike: he who finds it empty waits until it is whole again, and the chance that
somebody does is taken as ((reserve - left) / reserve) squared below a reserve. A limit that is whole again within
milliseconds therefore costs nothing, and one that takes a minute moves work away well before the first 429.
"""

import math
from functools import lru_cache

from msgspec import Struct

from freehold.classify.facts import LIKELY_OUTPUT, Facts
from freehold.decide.catalog import Deployment
from freehold.decide.signals import NOTHING, Signals

DISCOUNT = 0.1
CACHED: dict[str, float] = {
    "openai": DISCOUNT,
    "anthropic": DISCOUNT,
    "gemini": DISCOUNT,
    "vertex": DISCOUNT,
    "bedrock": DISCOUNT,
    "mistral": DISCOUNT,
    "deepseek": DISCOUNT,
    "xai": 0.25,
    "azure": 0.5,
    "groq": 0.5,
    "fireworks": 0.2,
}
"""Cached input over input price where a deployment's own is not known: what most models of a provider have in the data
of genai-prices, November 2026. Whoever is not here is taken to give no discount."""

UNMEASURED_FIRST = 0.5
UNMEASURED_TOKEN = 0.02
"""Seconds, before a deployment's own times are known."""
UNKNOWN_PLACES = 256
"""Places of an engine that names none: what vLLM's `max_num_seqs` was for most of its life."""
MOST_PLACES = 4096


class Terms(Struct, frozen=True):
    """How time is valued."""

    second: float = 0.001
    """US dollars that one request's second of waiting is worth: $3.60 an hour, between a batch job's nothing and the
    wages of whoever watches a cursor."""
    unnoticed: float = 0.5
    """Seconds of waiting that are worth nothing to anybody, whatever the patience: a second is what keeps a train of
    thought (Nielsen 1993), and the answer itself needs a part of that."""
    load: float = 0.8
    """Share of its time that an owned engine is meant to be busy, below 1."""
    full: float = 0.9
    """Share of an engine's key-value cache from which on it is nearly full."""
    reserve: float = 0.2
    """Share of a rate limit below which it counts as running out."""
    reset: float = 10.0
    """Seconds until a rate limit is whole again where nobody says."""
    longest: float = 60.0
    """Seconds of waiting for a rate limit that count at most: nobody waits longer, and asks somebody else."""


TERMS = Terms()


class Price(Struct, frozen=True, gc=False):
    """US dollars. `waiting`: what its load adds. `scarcity`: what a rate limit that runs out adds."""

    dollars: float
    waiting: float = 0.0
    scarcity: float = 0.0
    later: float = 0.0
    """What each of `ahead` further turns of the conversation is expected to cost here."""
    ahead: float = 0.0

    @property
    def total(self) -> float:
        """What is compared: the mean over this turn and those expected after it."""
        now = self.dollars + self.waiting + self.scarcity
        return now if not self.ahead else (now + self.ahead * self.later) / (1.0 + self.ahead)


def price(
    deployment: Deployment,
    facts: Facts,
    signals: Signals = NOTHING,
    cached: int = 0,
    patience: float = 0.0,
    *,
    ahead: float = 0.0,
    terms: Terms = TERMS,
) -> Price | None:
    """Returns what the call is expected to cost; None where a rate of the deployment is not known.

    `cached` tokens of the prompt are in the deployment's cache. `patience` is in seconds (`Role.patience`).

    `ahead` is the number of turns the conversation is expected to go on for: with 0 a conversation moves only if this
    one turn pays for the lost cache, else also if the turns after it do. They are taken to be like this one, with all
    of the prompt cached and no load anywhere, wherever they run: load passes, rates stay.
    """
    dollars = tokens(deployment, facts, cached)
    if dollars is None:
        return None
    later = 0.0
    if ahead > 0.0:
        later = tokens(deployment, facts, facts.input_tokens) or 0.0
    scarcity = 0.0 if signals.left is None else _scarcity(signals.left, signals.reset, terms)
    return Price(dollars, _waiting(deployment, facts, signals, cached, patience, terms), scarcity, later, ahead)


def tokens(deployment: Deployment, facts: Facts, cached: int = 0) -> float | None:
    """Returns the list price in US dollars with `cached` tokens of the prompt read from the cache; None: unknown."""
    full, output = deployment.input_price, deployment.output_price
    if full is None or output is None:
        return None
    cached = max(0, min(cached, facts.input_tokens))
    saved = cached * (full - cached_rate(deployment)) if cached else 0.0
    return (facts.input_tokens * full - saved + facts.likely_output * output) / 1e6


def cached_rate(deployment: Deployment) -> float:
    """Returns US dollars per million input tokens read from the deployment's prompt cache, never more than others."""
    full = deployment.input_price or 0.0
    if deployment.cached_price is not None:
        return min(full, deployment.cached_price)
    return full * CACHED.get(deployment.provider, 1.0)


def cache_loss(deployment: Deployment, facts: Facts, cached: int) -> float:
    """Returns what a conversation loses, in US dollars, that leaves a place where `cached` tokens of it are cached.

    Exactly `price(deployment, facts).dollars - price(deployment, facts, cached=cached).dollars`: asking the old place
    with what it has cached and the new one with nothing counts it once, and it must not be added again. It is lost
    once: the new place has the prompt cached for the turns after this one.
    """
    cached = max(0, min(cached, facts.input_tokens))
    return cached * ((deployment.input_price or 0.0) - cached_rate(deployment)) / 1e6


def holds(signals: Signals, facts: Facts, cached: int = 0) -> float:
    """Returns for how many seconds the request is expected to hold a place. What is cached need not be read."""
    first = UNMEASURED_FIRST if signals.first is None else signals.first
    each = UNMEASURED_TOKEN if signals.per_token is None else signals.per_token
    unread = 1.0 - max(0, min(cached, facts.input_tokens)) / max(1, facts.input_tokens)
    return first * unread + each * facts.likely_output


def _waiting(
    deployment: Deployment, facts: Facts, signals: Signals, cached: int, patience: float, terms: Terms
) -> float:
    patience = max(patience, terms.unnoticed)
    places = signals.slots or deployment.slots
    there = signals.inflight + signals.queue
    wait = signals.wait
    if not deployment.owned:
        if places and there >= places:
            wait = max(wait, (there - places + 1) / places * holds(signals, facts))
        return terms.second * (wait - patience) if wait > patience else 0.0
    places = min(places or UNKNOWN_PLACES, MOST_PLACES)
    held = holds(signals, facts, cached)
    each = UNMEASURED_TOKEN if signals.per_token is None else signals.per_token
    usual = (UNMEASURED_FIRST if signals.first is None else signals.first) + each * LIKELY_OUTPUT
    if there >= places:
        wait = max(wait, (there - places + 1) / places * usual)
    if signals.kv > terms.full:
        wait = max(wait, usual * min(1.0, (signals.kv - terms.full) / (1.0 - terms.full)) ** 2)
    half = wait + held / (2 * places) - patience
    if half <= 0.0:
        return 0.0
    own = max(0.0, wait - patience)
    others = held / usual * terms.load / (1.0 - terms.load) if usual > 0.0 else 0.0
    return terms.second * (own + others * (own + crowding(there, places, terms.load) * (half - own)))


def crowding(busy: int, places: int, load: float = TERMS.load) -> float:
    """Returns the chance that a request which finds `busy` of `places` taken makes a later one wait: B(k, a) / B(n, a).
    1 where none is free."""
    return 1.0 if busy >= places else _ratios(places, load)[max(0, busy)]


@lru_cache(maxsize=256)
def _ratios(places: int, load: float) -> tuple[float, ...]:
    """B(k, a) / B(n, a) for n from 0 to k - 1, by 1 / B(n) = 1 + n / a / B(n - 1), in logarithms: B(k) gets tiny."""
    offered = load * places
    logs = [0.0]
    for n in range(1, places + 1):
        ratio = math.log(n / offered) + logs[-1]
        logs.append(ratio + math.log1p(math.exp(-ratio)) if ratio > -700 else 0.0)
    return tuple(math.exp(log - logs[-1]) for log in logs[:-1])


def _scarcity(left: float, reset: float | None, terms: Terms) -> float:
    if left >= terms.reserve:
        return 0.0
    missing = (terms.reserve - max(0.0, left)) / terms.reserve
    wait = min(terms.reset if reset is None else max(0.0, reset), terms.longest)
    return terms.second * wait * missing * missing


CALM = 0.5
"""Seconds after which a wait that is over has lost two thirds of its weight. On Azure's traces (measure/routing/
simulate.py) 2 s would leave a bursty machine idle a tenth of the time, and 0.5 s costs nothing that can be seen. A
conversation is kept from going to and fro by its cache (`cache_loss`), not by this."""


def eased(before: float, now: float, seconds: float) -> float:
    """Returns the wait to go by, in seconds, where it was `before` so many `seconds` ago and is `now`.

    It rises at once and falls slowly, so that work which went elsewhere because of a queue does not all come back at
    the first gap in it and make the next.
    """
    if now >= before or seconds >= 8 * CALM:
        return now
    return max(now, before * math.exp(-max(0.0, seconds) / CALM))
