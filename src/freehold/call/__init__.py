"""The only room that talks to the outside: transport, attempts, breakers, and the providers as data.

providers.toml, profiles/   who there is, and the quirks of their models, as data
target.py                   one deployment, ready to be called: pool, request heads, traits
operation.py                what one endpoint does with a request: chat-like, embeddings, token count
attempts.py                 the plan carried out: attempts, fallback, retries
transport/                  sockets
"""
