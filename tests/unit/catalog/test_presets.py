"""The built-in providers: as many ways to authenticate as there are, and nothing that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import load, presets
from tidegate.domain.attach import AttachBasic, AttachHeader, AttachQuery
from tidegate.engine import check_snapshot
from tidegate.snapshot import compile_snapshot

PRESETS = presets()


def test_there_are_the_providers_that_most_businesses_use():
    assert len(PRESETS) >= 15
    assert {"stripe", "github", "openai", "slack", "shopify", "hubspot", "twilio"} <= set(PRESETS)


def test_every_way_of_authenticating_is_among_them():
    parts = [part for preset in PRESETS.values() for part in preset.provider.attach]
    headers = [part for part in parts if isinstance(part, AttachHeader)]
    assert any(part.prefix == "Bearer " for part in headers)
    assert any(not part.prefix and part.name.lower() != "authorization" for part in headers)
    assert any(isinstance(part, AttachBasic) for part in parts)
    assert any(isinstance(part, AttachQuery) for part in parts)
    assert any(preset.provider.headers for preset in PRESETS.values())
    assert any(preset.provider.variables for preset in PRESETS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_all_that_a_declaration_needs(tmp_path: Path, name: str):
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "version: 1\nclients: {acme: {}}\nconsumers: {shop: {clients: [acme]}}\n"
        f"providers: {{it: {{preset: {name}}}}}\n"
        'grants: [{consumer: shop, provider: it, operations: ["*"]}]\n'
    )
    declaration = load(file)
    (provider,) = declaration.providers
    assert all(origin.startswith("https://") for origin in provider.origins)
    assert provider.operations
    assert provider.attach or provider.sign
    assert PRESETS[name].source.startswith("https://")
    check_snapshot(compile_snapshot(declaration, 1, (), ()))
