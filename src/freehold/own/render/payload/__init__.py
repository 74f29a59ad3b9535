"""Small programs that travel inside what is rendered. They run in other people's containers, so they need nothing but
the standard library (or a shell and curl), and nothing in Freehold imports them.

fetch.py    brings the weights, each file checked against its sha256, before the engine starts
probe.py    says whether the engine works: its counters move, or it answers with a token
probe.sh    the same for an image without Python
"""
