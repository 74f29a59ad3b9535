"""How far an artefact may be from its original.

Distance is the Kullback-Leibler divergence of the artefact's next-token distribution from the original's, in nats, as a
mean over all positions, and the share of positions where both would say the same token (top-1).

The figures of F32, F16 and BF16 are what rounding does, several times over: llama.cpp keeps its key-value cache in 16
bits and multiplies 16-bit weights with activations of 16 bits. A wrong conversion is far beyond them. The others are
what the quantisation is expected to lose, some times over: the gate finds what is broken, it does not rank.
"""

import math

from msgspec import Struct


class Limits(Struct, frozen=True):
    """`kl` is the largest mean, `top1` the smallest share. `greedy`: what greedy decoding says must be the original's,
    token by token. `outliers` is the share of positions that do not count in the mean."""

    kl: float
    top1: float
    greedy: bool = False
    outliers: float = 0.0

    @property
    def tie(self) -> float:
        """Where the original's best token is less than this likelier than its second, as a difference of logarithms,
        either counts as the same. A divergence of d comes from differences of about sqrt(2 d); three times that."""
        return 3 * math.sqrt(2 * self.kl)


TABLE: dict[str, Limits] = {
    "F32": Limits(0.0005, 1.0, greedy=True),
    "F16": Limits(0.001, 1.0, greedy=True),
    "BF16": Limits(0.01, 1.0, greedy=True),
    "Q8_0": Limits(0.03, 0.95),
    "MXFP4": Limits(0.03, 0.95),
    "Q6_K": Limits(0.05, 0.93),
    "Q5_K": Limits(0.1, 0.90),
    "Q5_0": Limits(0.12, 0.88),
    "Q5_1": Limits(0.12, 0.88),
    "Q4_K": Limits(0.2, 0.85),
    "Q4_1": Limits(0.3, 0.80),
    "Q4_0": Limits(0.3, 0.80),
    "IQ4": Limits(0.2, 0.85),
    "Q3_K": Limits(0.6, 0.75),
    "IQ3": Limits(0.6, 0.75),
}
"""By quantisation, or the beginning of its name. Published means for an 8B model (tools/perplexity of llama.cpp, Llama 3)
are 0.001 for Q8_0, 0.005 for Q6_K, 0.03 for Q4_K_M, 0.07 for Q4_0; small models lose more. MXFP4 is for weights that
were published in it: nothing is lost but what multiplying with 8-bit activations loses."""
OTHERS = Limits(1.5, 0.5)
ROUTED = 0.05
"""With a mixture of experts, the smallest rounding may have a router choose another expert where two are nearly equal,
and what comes then is another answer. This share of positions may be so; at the others the limits hold."""


def limits(quantisation: str, experts: int = 0) -> Limits:
    """Returns the row of a quantisation such as Q4_K_M, for a model with so many experts."""
    name = quantisation.upper()
    found = next((row for start, row in TABLE.items() if name.startswith(start)), OTHERS)
    if experts:
        return Limits(found.kl, found.top1 - ROUTED, greedy=False, outliers=ROUTED)
    return found


def looser(one: Limits, other: Limits) -> Limits:
    """Returns the row that allows more."""
    return one if one.kl >= other.kl else other
