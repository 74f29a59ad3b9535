"""Answers that are kept and given again (docs/caching.md, design/0011-response-cache.md).

    responses.py   what takes part, and the look-up of a request: begin here
    key.py         when two requests are the same
    ticket.py      one request's part in it, and the answer on its way out
    render.py      an answer as it was sent -> canonical reply -> as another client wants it
    keep.py        what the writing thread does with an answer
    life.py        what outlives a configuration: the store, the thread, who waits for whom
    semantic.py    similar questions; similar.py the arithmetic of "similar enough", words.py likeness, trials.py the
                   data it is calibrated by

The files on disk are record/cache.py.
"""
