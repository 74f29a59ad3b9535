"""freehold.yaml: its schema as types, its loader, and errors that name file, line and key."""
