"""Beyond one host: the same deployment, written for engines of scale that already exist.

    describe (deployment.py)   config entry and store -> Deployment: what is run, from which pinned files, how large
    recipe (recipe.py)         Deployment -> the engine's image, command line, port and progress counters
    k8s.py kserve.py           Deployment + Recipe -> manifests; pod.py is what both share
    ray_serve.py               Deployment -> a Ray Serve config; ray_app.py is the application it names for CPU engines
    skypilot.py                Deployment + Recipe -> a SkyPilot service
    payload/                   small programs that travel inside what is written and run there, not here

We write no scheduler of our own. What comes out is meant to be applied unchanged; what a person must do before (make a
Secret, fill a volume) is in `Rendered.notes`, and how the endpoint comes back as a deployment of this gateway is in
`Rendered.config`. A secret is never written, only the name of what holds it.
"""

from freehold.own.render.deployment import Deployment, describe
from freehold.own.render.rendered import TARGETS, Options, Rendered, render

__all__ = ["TARGETS", "Deployment", "Options", "Rendered", "describe", "render"]
