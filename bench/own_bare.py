"""llama.cpp alone, through xllamacpp's own server: `python -m bench.own_bare FILE`, the numbers as JSON on stdin.

The numbers (context, slots, threads, batch) are those that Freehold gives its worker for the same model, so that the
two differ in nothing but what stands before the engine. Says where it listens, then runs until stdin ends.
"""

import json
import sys

import xllamacpp


def main() -> None:
    numbers = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.verbosity = 1
    params.model.path = sys.argv[1]
    params.model_alias = {"bare"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = numbers["context"] * numbers["parallel"]
    params.n_parallel = numbers["parallel"]
    params.n_batch = params.n_ubatch = numbers["batch"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = numbers["threads"]
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cache_ram_mib = numbers["prompt_cache_mib"]
    params.use_jinja = True
    params.warmup = False
    params.fit_params = False
    params.offline = True
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
