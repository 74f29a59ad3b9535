"""Who is calling, and may they: virtual keys, request and token limits."""
