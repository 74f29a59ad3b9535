"""The parity gate: converted, merged or quantised weights serve only after they have said what the original says.

questions.py   what both sides are asked: texts, conversations, tools
answers.py     what a side answers
reference.py   the original in transformers, a child process (`python -m freehold.own.parity.reference`)
original.py    starts that child, bounds it, reads it
artefact.py    a GGUF file in the embedded engine, a child process as the steward starts it
limits.py      how far an artefact may be from its original, by quantisation, and why so far
compare.py     two Answers and a Limits make a Report; pure
gate.py        the same for an artefact of the store: finds its original, stores the verdict
"""
