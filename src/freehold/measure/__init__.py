"""Evaluation: what a choice would have cost and got right, told with intervals and beside trivial baselines.

`routing/` measures the choice among deployments. Nothing here is imported by the gateway.
"""
