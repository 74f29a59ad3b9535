"""Receipts: what left this gateway, under which rules, in a log that nobody can quietly change afterwards.

sent.py      what a worker notes of a call's way out, beside its intent
leaf.py      one receipt: a line of the log
merkle.py    the tree over the lines: roots and proofs (RFC 6962)
ed25519.py   signatures (RFC 8032) where no library for them is installed; keys.py chooses and keeps the key
note.py      a signed root with a count, as transparency logs write it
log.py       the writer, beside the ledger's ingester
taking.py    from the ledger's finished calls to lines of the log, each once
source.py, verify.py, proof.py, report.py    the reader: whole logs, single receipts, summaries
"""
