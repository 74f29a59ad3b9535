"""The owned side: weights on disk, the engines that run them, and the steward that keeps engines running.

weights/            where weights come from, the store that holds them, what may be said of them
convert/            safetensors -> GGUF, and quantisation
parity/             what was made here against its original
catalog.py          config and store -> EngineSpecs: which file, under which name, how much context
  stock.py          the store's part of that
gguf.py             what a GGUF file says about itself, read defensively; ggml_types.py its tensor types
untrusted.py        opening a file of weights that nobody has looked at
engine.py           the adapter contract: specs, launch plans, capabilities, states
engines/            the adapters, one a kind of engine
tools/              tool calls for engines that do not do them all by themselves
life.py             one engine from launch to end: child.py (our process), attached.py (a daemon's model), asking.py
processes.py        descendants, memory and listeners, as the kernel tells them; pipes.py what a child says
steward.py          all engines: one task owns every transition and publishes them to the gateway, through link.py
  transitions.py    every transition, on slots.py (a served name) and lives.py (one life); events.py what it is told
  schedule.py       which engines are loaded and which make room, pure; places.py between the two
  memory.py         what an engine will need, what this machine has left; gpu.py its GPUs; budget.py what was seen
  health.py         the judge of wedged engines, pure; watch.py feeds it, tally.py adds up what workers report
  asides.py         short jobs beside the loop: sleep and wake, LoRA weights
rollout.py          canaries, pure: which version, when it has passed
guard.py            request fields that would crash or stall llama.cpp, refused before they reach it
render/             the same deployment for Ray Serve, KServe, Kubernetes, SkyPilot
measure.py          figures of `freehold bench NAME`, kept; measuring.py takes them, alone.py runs an engine for it
"""
