"""Ray and Ray Serve on this machine, one rendered config deployed: `python ray_local.py FILE FOLDER`.

Says {"url": ...} when every application runs, {"error": ...} when one will not. Ends when stdin does.
"""

import json
import logging
import sys
import time

import ray
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

PATIENCE = 90.0


def main() -> None:
    config = yaml.safe_load(open(sys.argv[1]))  # noqa: SIM115
    ray.init(
        num_cpus=2,
        object_store_memory=80_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=sys.argv[2],
    )
    try:
        serve.start(proxy_location=config["proxy_location"], http_options=config["http_options"])
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate(config), _blocking=False)
        options = config["http_options"]
        say(waited() or {"url": f"http://{options['host']}:{options['port']}"})
        sys.stdin.read()
    finally:
        serve.shutdown()
        ray.shutdown()


def waited() -> dict[str, str] | None:
    """Returns what went wrong, None when all run."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        applications = serve.status().applications
        states = {name: one.status for name, one in applications.items()}
        if states and all(state == "RUNNING" for state in states.values()):
            return None
        if any("FAILED" in state or "UNHEALTHY" in state for state in states.values()):
            return {"error": str(applications)[-3000:]}
        time.sleep(0.2)
    return {"error": f"not running after {PATIENCE:g} s: {states}"}


def say(words: dict[str, str]) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
