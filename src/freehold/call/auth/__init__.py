"""How a request proves to a cloud who sends it, where a fixed key in a header is not enough.

base.py     the protocol, and the two forms that never change: a key, a bearer token
cached.py   something that expires, fetched once for all who wait, renewed before it does
oauth.py    one exchange with a token endpoint, its failures explained
sigv4.py    Amazon: requests signed with Signature Version 4, or a Bedrock API key
aws.py      where Amazon's keys come from: environment, files, STS, containers, instances
google.py   Google: service accounts, gcloud's login, the metadata server
azure.py    Azure: key, Entra ID secret, federated token
places.py   hosts and paths of Azure, Vertex and Bedrock, which depend on account and region

Only `sign` stands on the way of a request, and it never waits. Tokens come through `call/transport`.
"""

from freehold.call.auth.aws import AwsAuth, aws_auth
from freehold.call.auth.azure import azure_auth
from freehold.call.auth.base import ApiKey, Auth, Bearer, Headers
from freehold.call.auth.google import GoogleAuth, google_auth
from freehold.call.auth.places import azure_path, bedrock_host, vertex_host, vertex_path
from freehold.call.auth.sigv4 import Credentials, SigV4

__all__ = [
    "ApiKey",
    "Auth",
    "AwsAuth",
    "Bearer",
    "Credentials",
    "GoogleAuth",
    "Headers",
    "SigV4",
    "aws_auth",
    "azure_auth",
    "azure_path",
    "bedrock_host",
    "google_auth",
    "vertex_host",
    "vertex_path",
]
