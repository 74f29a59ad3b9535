"""Strict egress and the air gap: that nothing leaves this machine unasked is the kernel's doing, not only ours.

    freehold up ── outer (outer.py)    keeps the namespace, the keys' environment, the witness; opens no connection
         ├─ egress (process.py)        outside, alone with the keys, under a user of its own: the only way out
         └─ inside (serve/up.py)       workers, steward, engines: a network namespace with loopback and nothing else

A worker hands each request with a signed ticket (call/transport/ticket.py) to the egress process, which asks again
whether it may go (gate.py), adds credentials, sends it (relay.py, upstream.py), and writes down what it sent
(records.py). Counters of the kernel (witness.py) say how much really left, and where to; `freehold audit reconcile`
(reconcile.py) holds the three against each other. Air-gapped there is no egress process at all.

scrub.py takes the keys out of what the inside sees; namespace.py makes it; fetching.py fetches what URLs point at.
docs/egress.md says what all this shows and what it does not.
"""
