"""Hosts and paths of the clouds."""

import gzip
import json
from urllib.parse import unquote, urlsplit

import pytest
from recorded import FILE

from freehold.call.auth import azure_path, bedrock_host, vertex_host, vertex_path


@pytest.mark.parametrize(
    ("operation", "version", "path"),
    [
        ("chat", "2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("embeddings", "2024-10-21", "/openai/deployments/gpt-4o/embeddings?api-version=2024-10-21"),
        (
            "audio.speech",
            "2025-04-01-preview",
            "/openai/deployments/gpt-4o/audio/speech?api-version=2025-04-01-preview",
        ),
        ("responses", "2025-04-01-preview", "/openai/responses?api-version=2025-04-01-preview"),
        ("chat", None, "/openai/v1/chat/completions"),
        ("responses", "v1", "/openai/v1/responses"),
        ("images", "preview", "/openai/v1/images/generations?api-version=preview"),
        ("realtime/client_secrets", None, "/openai/v1/realtime/client_secrets"),
    ],
)
def test_azure(operation: str, version: str | None, path: str) -> None:
    assert azure_path(operation, "gpt-4o", version) == path


def test_names_stay_in_their_segment() -> None:
    assert "/deployments/a%2Fb%3Fc/" in azure_path("chat", "a/b?c", "2024-10-21")
    assert "/deployments/%2E%2E/" in azure_path("chat", "..", "2024-10-21")
    assert azure_path("chat", "d", "1&x=y").endswith("?api-version=1%26x%3Dy")
    assert "/models/%2E%2E:rawPredict" in vertex_path("p", "l", "anthropic", "..", "rawPredict")


def test_vertex() -> None:
    assert vertex_path("proj", "global", "google", "gemini-2.5-flash", "streamGenerateContent") == (
        "/v1/projects/proj/locations/global/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    )
    assert vertex_path("proj", "europe-west4", "anthropic", "claude-sonnet-4-5@20250929", "streamRawPredict") == (
        "/v1/projects/proj/locations/europe-west4/publishers/anthropic/models/"
        "claude-sonnet-4-5@20250929:streamRawPredict"
    )
    assert [vertex_host(place) for place in ("", "global", "us", "europe-west4")] == [
        "aiplatform.googleapis.com",
        "aiplatform.googleapis.com",
        "aiplatform.us.rep.googleapis.com",
        "europe-west4-aiplatform.googleapis.com",
    ]


def test_bedrock() -> None:
    assert bedrock_host("us-east-1") == "bedrock-runtime.us-east-1.amazonaws.com"
    assert bedrock_host("cn-north-1") == "bedrock-runtime.cn-north-1.amazonaws.com.cn"


@pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is not here")
def test_recorded_addresses() -> None:
    seen = 0
    with gzip.open(FILE, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            parts = urlsplit(row["uri"])
            if "aiplatform" in row["host"]:
                _, version, _, project, _, place, _, publisher, _, model = parts.path.split("/")
                name, _, method = model.partition(":")
                made = vertex_path(project, place, publisher, unquote(name), method)
                assert (vertex_host(place), made.replace("/v1/", f"/{version}/", 1)) == (row["host"], parts.path)
                seen += 1
            elif "/openai/deployments/" in parts.path:
                version = parts.query.removeprefix("api-version=")
                assert azure_path("chat", parts.path.split("/")[3], version) == f"{parts.path}?{parts.query}"
                seen += 1
    assert seen > 50
