"""The owned side: weights on disk, the engines that run them, and the steward that keeps engines running.

catalog.py          config -> EngineSpecs: which file, under which name, how much context
gguf.py             what a GGUF file says about itself, read defensively before any engine sees it
memory.py           what an engine will need, and what this machine has left
engine.py           the adapter contract: specs, launch plans, capabilities, states
engines/            the adapters, one a kind of engine
life.py             one engine from launch to end: child.py (a process of ours), attached.py (a daemon's model)
processes.py        descendants, memory and listeners, as the kernel tells them; pipes.py what a child says
gpu.py              what nvidia-smi says of the GPUs
steward.py          all engines: one task owns every transition and publishes them to the gateway
guard.py            request fields that would crash or stall llama.cpp, refused before they reach it
"""
