"""The owned side: weights on disk, the engines that run them, and the steward that keeps engines running.

catalog.py          config -> EngineSpecs: which file, under which name, how much context
gguf.py             what a GGUF file says about itself, read defensively before any engine sees it
memory.py           what an engine will need, and what this machine has left
engine.py           the adapter contract: specs, launch plans, capabilities, states
llamacpp.py         the adapter for embedded llama.cpp; llamacpp_worker.py is its child process
life.py             one child process from spawn to exit
steward.py          all engines: one task owns every transition and publishes them to the gateway
guard.py            request fields that would crash or stall llama.cpp, refused before they reach it
"""
