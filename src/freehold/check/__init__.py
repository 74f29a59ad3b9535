"""Checks of what was asked and answered. Pure: texts and conversations in, verdicts out.

answers.py     an answer against its request: the checks of a cascade, one verdict
schema.py      a value against a JSON schema          pattern.py     regular expressions in linear time
calls.py       tool calls against the tools offered   confidence.py  the tokens' log-probabilities
extracted.py   values that stand in the request       agreement.py   several answers that say the same
"""

from freehold.check.answers import Verdict, judge

__all__ = ["Verdict", "judge"]
