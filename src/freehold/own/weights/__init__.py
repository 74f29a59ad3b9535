"""Weights: where they come from, the store that holds them, and what may be said of them before an engine sees them."""
