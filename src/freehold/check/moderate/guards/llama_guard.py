"""Llama Guard 2, 3 and 4 (Meta): `safe`, or `unsafe` and on the next line the hazards, `S1,S10`.

Sources: https://www.llama.com/docs/model-cards-and-prompt-formats/llama-guard-4/ (and llama-guard-3,
meta-llama-guard-2). The model's own chat template writes the task, the hazards and the conversation around the
messages, and says `User` or `Agent` by who spoke last; so the messages go as they are, and the engine must use that
template (GGUF files and Hugging Face folders carry it). Version 2 numbers 11 hazards in another order than 3 and 4,
which have defamation, elections and code interpreter abuse besides: the same code means different things.

The score of what is named is the probability of `unsafe` against `safe` as the first word, as the model card has it.
"""

import re
from collections.abc import Mapping, Sequence

from freehold.check.moderate.guards.asked import SURE, Guard, failed, probability, request, said, turns_of
from freehold.check.moderate.verdict import Verdict
from freehold.dialects.conversation import Conversation, Reply

TOKENS = 24
_NAMED: Mapping[str, tuple[str, ...]] = {
    "Violent Crimes": ("violence", "illicit", "illicit/violent"),
    "Non-Violent Crimes": ("illicit",),
    "Sex-Related Crimes": ("sexual", "illicit"),
    "Child Sexual Exploitation": ("sexual", "sexual/minors"),
    "Indiscriminate Weapons": ("illicit", "illicit/violent"),
    "Hate": ("hate",),
    "Suicide & Self-Harm": ("self-harm",),
    "Sexual Content": ("sexual",),
    "Code Interpreter Abuse": ("illicit",),
}
"""OpenAI's nearest categories. Defamation, advice, privacy, property and elections have none: they are told by name."""
_THREE = (
    "Violent Crimes", "Non-Violent Crimes", "Sex-Related Crimes", "Child Sexual Exploitation", "Defamation",
    "Specialized Advice", "Privacy", "Intellectual Property", "Indiscriminate Weapons", "Hate", "Suicide & Self-Harm",
    "Sexual Content", "Elections", "Code Interpreter Abuse",
)  # fmt: skip
_TWO = (
    "Violent Crimes", "Non-Violent Crimes", "Sex-Related Crimes", "Child Sexual Exploitation", "Specialized Advice",
    "Privacy", "Intellectual Property", "Indiscriminate Weapons", "Hate", "Suicide & Self-Harm", "Sexual Content",
)  # fmt: skip
_CODES = re.compile(r"S([0-9]{1,2})")
_LINES = re.compile(r"(safe|unsafe)(?:\s+((?:S[0-9]{1,2}[\s,]*)+))?\s*", re.IGNORECASE)
_YES, _NO = frozenset({"unsafe", "un"}), frozenset({"safe"})


def _requests(model: str, conversation: Conversation, answer: str | None) -> list[Conversation]:
    return [request(model, turns_of(conversation, answer), TOKENS)]


def _read(name: str, hazards: Sequence[str], replies: Sequence[Reply | None]) -> Verdict:
    reply = replies[0] if len(replies) == 1 else None
    text = said(reply)
    if reply is None or text is None:
        return failed(name, "the guard model gave no answer")
    match = _LINES.fullmatch(text)
    if match is None:
        return failed(name, "the guard model's answer is neither `safe` nor `unsafe` with hazards")
    unsafe = match[1].lower() == "unsafe"
    measured = probability(reply, _YES, _NO)
    codes = [int(code) for code in _CODES.findall(match[2] or "")]
    if unsafe != bool(codes) or any(not 1 <= code <= len(hazards) for code in codes):
        return failed(name, "the guard model's answer names hazards that cannot be")
    score = measured if measured is not None else SURE
    scores: dict[str, float] = {}
    also = []
    for code in codes:
        hazard = hazards[code - 1]
        for category in _NAMED.get(hazard, ()):
            scores[category] = max(scores.get(category, 0.0), score, 0.5)
        if hazard not in _NAMED:
            also.append(f"S{code}: {hazard}")
    return Verdict.of(scores, name, {}, also=tuple(also))


LLAMA_GUARD_2 = Guard("llama-guard-2", _requests, lambda replies: _read("llama-guard-2", _TWO, replies))
LLAMA_GUARD_3 = Guard("llama-guard-3", _requests, lambda replies: _read("llama-guard-3", _THREE, replies))
LLAMA_GUARD_4 = Guard("llama-guard-4", _requests, lambda replies: _read("llama-guard-4", _THREE, replies))
