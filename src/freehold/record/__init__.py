"""What happened, written down: journal, ledger, prices, metrics. Nothing here is waited for on the request path."""
