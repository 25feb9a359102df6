"""How keys are replaced is declared as data; what cannot be carried out is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load, presets
from tidegate.domain.declaration import Provider
from tidegate.domain.rotation import DAY_MS, OverlapClass

HOOKS = """
      create: {call: "POST /keys", body: {name: "{name}"}, id: /id, fields: {token: /key}}
      keys: {call: GET /keys, items: /keys, id: /id, name: /name}
      delete: {call: "DELETE /keys/{id}"}
      test: {call: GET /things}"""


def declared(folder: Path, rotation: str) -> Provider:
    file = folder / "tidegate.yaml"
    file.write_text(
        "version: 1\nproviders:\n  api:\n    origin: https://api.example.com\n    base_path: /v1\n"
        f'    auth: bearer\n    operations: ["GET /things"]\n    rotation:{rotation}\n'
    )
    return load(file).providers[0]


def mistakes(folder: Path, rotation: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        declared(folder, rotation)
    return [f"{error.line}: {error.message}" for error in caught.value.errors]


def test_hooks_are_read_with_their_base_path(tmp_path: Path):
    rotation = declared(
        tmp_path, "\n      overlap_class: A\n      by: admin\n      rotate_every: 30d" + HOOKS
    ).rotation
    assert rotation.create is not None
    assert rotation.delete is not None
    assert (rotation.create.hook.path, rotation.delete.path) == ("/v1/keys", "/v1/keys/{id}")
    assert rotation.rotate_every_ms == 30 * DAY_MS
    assert rotation.has_hook
    assert rotation.age_max_ms == 90 * DAY_MS


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ('POST /keys", body', 'POST /keys/{nmae}", body', "`{nmae}` is no placeholder here"),
        ('"{name}"', '"{id}"', "`{id}` is no placeholder here"),
        ('"{name}"', '"{Name}"', "its braces do not make a placeholder"),
        ('"{name}"', '"fixed"', "does not get the name"),
        ("id: /id, fields", "id: id, fields", "is not a place in an answer"),
        ("{token: /key}", "{secret: /key}", "the credential has no field `secret`"),
        ("test:", "last_used:", "at"),
        ("GET /things}", "GET https://thief.example/things}", "is no origin"),
        ("by: admin", "keys_max: 3", "`by` is missing"),
        ("by: admin", "by: admin\n      values: {scope: a}", "`scope` is no parameter"),
        ("overlap_class: A", "overlap_class: D\n      rotate_every: 9d", "done by a person"),
        ('"{name}"', '"{name}", until: "{expires_on}"', "`{expires_on}` is no placeholder here"),
        (
            "by: admin",
            "by: admin\n      lifetime: 9d\n      rotate_every: 9d",
            "would expire before",
        ),
        (
            'by: admin\n      create: {call: "POST /keys"',
            'by: admin\n      parameters: {p: x}\n      values: {p: [{a: b}]}\n      create: {call: "POST /{p}"',
            "`p` stands where only a text can stand",
        ),
        (
            "by: admin",
            "by: admin\n      parameters: {p: x}\n      values: {p: 7}",
            "a value is a text",
        ),
        ("name: /name}", "name: /name, next_as: c}", "needs `next`"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(tmp_path: Path, what: str, change: str, said: str):
    text = "\n      overlap_class: A\n      by: admin" + HOOKS
    assert what in text
    found = mistakes(tmp_path, text.replace(what, change, 1))
    assert any(said in one for one in found), found
    assert all(int(one.partition(":")[0]) > 7 for one in found), found


def test_a_preset_takes_what_is_said_beside_it(tmp_path: Path):
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "version: 1\nproviders:\n  mail:\n    preset: sendgrid\n"
        "    rotation: {rotate_every: 60d, values: {scopes: [mail.send]}}\n"
    )
    rotation = load(file).providers[0].rotation
    assert rotation.overlap_class is OverlapClass.MANY
    assert rotation.parameters[0].value_for("acme") == ("mail.send",)
    assert rotation.create is not None
    assert rotation.create.hook.path == "/v3/api_keys"


def test_the_providers_that_most_use_have_hooks():
    rotations = {name: preset.provider.rotation for name, preset in presets().items()}
    able = {name for name, rotation in rotations.items() if rotation.has_hook}
    assert able == {
        *("sendgrid", "twilio", "mailgun", "datadog", "gitlab", "openai"),
        *("aws-iam", "gcp-iam", "cloudflare", "okta-app"),
    }
    assert rotations["gitlab"].overlap_class is OverlapClass.IN_PLACE
    assert rotations["aws-iam"].keys_max == 2
    assert rotations["stripe"].steps
