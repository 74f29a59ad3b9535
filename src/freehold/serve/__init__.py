"""The gateway itself: the ASGI application, the way of a request, the processes around it.

app.py        paths to endpoints; the last place where an error becomes an answer
pipeline.py   the way of a request, in order. Read this first
answer.py     the answer on its way back to the client: headers, streaming, failures in mid-stream
recorder.py   one request's journal entries, metrics and hold
gateway.py    one configuration in force: keys, catalog, targets
control.py    everything that is not a model's answer: models, health, metrics, status
worker.py     one process that serves; up.py starts workers and steward and keeps them alive
"""
