"""How far an artefact may be from its original.

Distance is the Kullback-Leibler divergence of the artefact's next-token distribution from the original's, in nats, as a
mean over all positions, and the share of positions where both would say the same token (top-1).

The figures of F32, F16 and BF16 allow what rounding does: llama.cpp keeps its key-value cache in 16 bits and multiplies
16-bit weights with activations of 16 bits. Tiny models with strong opinions, which feel it most, were measured at
0.00002 for F32, 0.00006 for F16 and 0.001 for BF16. A wrong conversion is far beyond (tests/own/parity/test_gate.py).
The others are what the quantisation is expected to lose, some times over: the gate finds what is broken, it does not
rank.
"""

import math

from msgspec import Struct

TIE = 10.0
LEAST_TIE, MOST_TIE = 0.02, 0.5


class Limits(Struct, frozen=True):
    """`kl` is the largest mean, `top1` the smallest share. `greedy`: what greedy decoding says must be the original's,
    token by token. `outliers` is the share of positions that do not count in the mean."""

    kl: float
    top1: float
    greedy: bool = False
    outliers: float = 0.0

    def tie(self, kl: float) -> float:
        """Returns how close two tokens are, as a difference of logarithms, to be as good as equal to an artefact with a
        mean divergence of `kl`. A divergence of d comes from differences of about sqrt(2 d); ten times that, because
        some positions differ more than others, within bounds."""
        return min(MOST_TIE, max(LEAST_TIE, TIE * math.sqrt(2 * min(kl, self.kl))))


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
"""By quantisation, or the beginning of its name. Published means for Llama 3 8B (tools/perplexity of llama.cpp) are
0.001 for Q8_0, 0.005 for Q6_K, 0.03 for Q4_K_M, 0.07 for Q4_0; small models lose more. MXFP4 is for weights that
were published in it: nothing is lost but what multiplying with 8-bit activations loses."""
OTHERS = Limits(1.5, 0.5)
ROUTED = 0.05
"""With a mixture of experts, the smallest rounding may have a router choose another expert where two are nearly equal,
and what comes then is another answer. This share of positions may be so; at the others the limits hold."""
LEAST_ROUTED = 0.005
"""A mixture of experts may be this far away whatever its type: the experts' weights move as well, and llama.cpp rounds
the bounds of the YaRN ramp, which gpt-oss does not (0.0025 with heads of 16 elements, 0.0001 with its own 64)."""


def limits(quantisation: str, experts: int = 0) -> Limits:
    """Returns the row of a quantisation such as Q4_K_M, for a model with so many experts."""
    name = quantisation.upper()
    found = next((row for start, row in TABLE.items() if name.startswith(start)), OTHERS)
    if experts:
        return Limits(max(found.kl, LEAST_ROUTED), found.top1 - ROUTED, greedy=False, outliers=ROUTED)
    return found


def looser(one: Limits, other: Limits) -> Limits:
    """Returns the row that allows more."""
    return one if one.kl >= other.kl else other
