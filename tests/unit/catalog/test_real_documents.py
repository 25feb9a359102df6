"""Documents that providers publish, of four makes, as npm ships them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import Api, load, read_document, read_operations

PACKAGES = Path(__file__).parents[3] / "node_modules"
GITHUB = PACKAGES / "@octokit/openapi/generated/api.github.com.json"


def read(name: str) -> Api:
    file = PACKAGES / name
    return read_operations(read_document(file.read_bytes(), file.name))


@pytest.mark.parametrize(
    ("name", "origin", "least", "some"),
    [
        (
            "@octokit/openapi/generated/api.github.com.json", "https://api.github.com", 1_000,
            ("issues/create", "POST", "/repos/{owner}/{repo}/issues"),
        ),
        (
            "@figma/rest-api-spec/openapi/openapi.yaml", "https://api.figma.com", 40,
            ("getFile", "GET", "/v1/files/{file_key}"),
        ),
        (
            "@netlify/open-api/dist/swagger.json", "https://api.netlify.com", 150,
            ("listSites", "GET", "/api/v1/sites"),
        ),
        (
            "shipengine-openapi/openapi.json", "https://api.shipengine.com", 60,
            ("parse_address", "PUT", "/v1/addresses/recognize"),
        ),
    ],
    ids=["GitHub, 3.0", "Figma, 3.1", "Netlify, Swagger 2", "ShipEngine, 3.0"],
)  # fmt: skip
def test_a_published_document_is_read(
    name: str, origin: str, least: int, some: tuple[str, str, str]
):
    found = read(name)
    assert found.origins[0] == origin
    assert len(found.operations) >= least
    assert len({operation.id for operation in found.operations}) == len(found.operations)
    assert some in {
        (operation.id, operation.method, operation.path) for operation in found.operations
    }


def test_uploads_of_github_are_another_origin():
    found = read("@octokit/openapi/generated/api.github.com.json")
    assert found.origins == ("https://api.github.com", "https://uploads.github.com")
    (upload,) = [o for o in found.operations if o.id == "repos/upload-release-asset"]
    assert upload.origin == 1


def test_a_declaration_names_a_published_document(tmp_path: Path):
    (tmp_path / "github.json").write_bytes(GITHUB.read_bytes())
    (tmp_path / "tidegate.yaml").write_text(
        "version: 1\nclients: {acme: {}}\nconsumers: {ci: {clients: [acme]}}\n"
        "providers: {github: {preset: github, openapi: github.json}}\n"
        "grants: [{consumer: ci, provider: github, operations: [issues/*, GET /user]}]\n"
    )
    (provider,) = load(tmp_path / "tidegate.yaml").providers
    assert len(provider.operations) > 1_000
