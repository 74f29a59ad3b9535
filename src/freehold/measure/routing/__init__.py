"""Does routing pay? Tables of who answered which prompt right, what they cost, and how a predictor fares on them.

    tables.py     three public file formats and a plain one of our own -> `Table`
    prices.py     what each answer cost, from prices.toml
    metrics.py    APGR, CPT, hulls, AIQ, violation rates, intervals: the definitions
    splits.py     random rows and held-out domains
    fit.py        trains the predictor that routes (decide/predict), from texts; fit_*.py its parts
    train.py      the same from one's own files or ledger, with floors calibrated on rows kept out
    better.py     is it better than the one in force? asked of the newest outcomes
    scores.py     that predictor and the baselines, all as a matrix of P(right)
    pairs.py      a weak and a strong model: the figures of RouteLLM, beside the baselines
    pools.py      all models at once: hull, zero router, cost saved
    policies.py   what a router over a pool can be set to, and plans made beforehand
    floors.py     the quality floor under 200 resamplings
    newcomers.py  a model that joins with few labels
    robust.py     decisions under typos, paraphrases and trigger strings; the time of one
    evaluate.py   all of it -> `Report`; report.py prints it
    replay.py     past requests decided again under other rules; simulate.py a day's load on owned and rented capacity

numpy comes with `freehold[own]`; `needs.numpy_installed` says so where it is missing.
"""
