"""Benchmarks: programs that print a table, never timed tests.

python -m bench          Freehold against nginx as a plain reverse proxy, in one run
python -m bench.peers    the same load on other gateways, installed into folders of their own
"""
