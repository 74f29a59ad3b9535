"""A fake Hugging Face hub and Ollama registry on loopback, serving a folder, with faults.

    with HubServer(folder) as hub:                    # folder/ORG/NAME/files, folder/.ollama/NAMESPACE/NAME/TAG/layers
        os.environ["HF_ENDPOINT"] = hub.url
        hub.faults.append(Fault("cut", path="*.safetensors", after=1000))

Routes, headers and errors are those that `huggingface_hub` 2.4 reads (its hf_api.py, file_download.py, utils/_http.py)
and those of the OCI distribution API that Ollama pulls by. As on the real hub, large files are not served by the hub
itself: it redirects to a storage host, here a second port, which must never see a token.

`repositories.py` turns folders into commits, `huggingface.py` and `registry.py` are the routes, `messages.py` is what
goes in and out, `server.py` has the sockets, byte ranges and faults.
"""

from freehold.fake.hub.messages import Fault, Seen
from freehold.fake.hub.server import HubServer, serve

__all__ = ["Fault", "HubServer", "Seen", "serve"]
