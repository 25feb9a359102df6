"""Every form of source is read with its lines, within bounds, and fails for no input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canaries import may_hold

from tidegate.credentials.importing import Reading, SourceRefused, read_data, read_source
from tidegate.credentials.importing.compose import ENV_FILES_MAX
from tidegate.credentials.importing.variables import SOURCE_BYTES_MAX, VARIABLES_MAX

SUFFIXES = (".env", ".yaml", ".json")


def read(text: str, file: str = ".env") -> list[tuple[str, str | None, int]]:
    return values(read_data(text.encode(), file, None))


def values(reading: Reading) -> list[tuple[str, str | None, int]]:
    return [
        (one.names[-1], None if one.value is None else one.value.reveal().decode(), one.line)
        for one in reading.variables
    ]


def test_an_environment_file_is_read_with_quotes_comments_and_lines():
    text = "# first\n\nexport A='one'\nB = two # said\nC=\"th\\nree\"\nD\nE='a\nb'\nF=#x\n"
    assert read(text) == [
        ("A", "one", 3),
        ("B", "two", 4),
        ("C", "th\nree", 5),
        ("D", None, 6),
        ("E", "a\nb", 7),
        ("F", "#x", 9),
    ]


def test_a_line_that_is_no_variable_is_noted_without_its_text():
    reading = read_data(b"A=1\nB='open\nC=3\n", ".env", None)
    assert [(note.line, note.message) for note in reading.notes] == [(2, "this is no `NAME=value`")]


def test_a_compose_file_is_read_in_both_forms_and_in_its_fragments():
    text = """\
x-common: &common {A: one, environment: {B: two}}
services:
  web:
    environment: {C: three, D: , E: 12, F: pa$$s, G: "${OUT}", H: pa$s}
  worker:
    environment: [I=four=4, J]
"""
    reading = read_data(text.encode(), "compose.yaml", None)
    assert set(values(reading)) == {
        ("A", "one", 1), ("B", "two", 1), ("C", "three", 4), ("D", None, 4), ("E", None, 4),
        ("F", "pa$s", 4), ("G", None, 4), ("H", None, 4), ("I", "four=4", 6), ("J", None, 6),
    }  # fmt: skip
    assert not reading.notes


def test_merge_keys_are_noted_and_the_rest_is_read():
    text = "x-a: &a {A: one}\nservices:\n  web:\n    environment:\n      <<: *a\n      B: two\n"
    reading = read_data(text.encode(), "compose.yml", None)
    assert [(note.line, note.message) for note in reading.notes] == [(5, "merge keys are not read")]
    assert set(values(reading)) == {("A", "one", 1), ("B", "two", 6)}


def test_env_files_are_followed_below_the_folder_alone(tmp_path: Path):
    folder = tmp_path / "app"
    folder.mkdir()
    (tmp_path / "outside.env").write_text("OUT=1\n")
    (folder / "link.env").symlink_to(tmp_path / "outside.env")
    (folder / "a.env").write_text("A=1\n")
    (folder / "b.env").write_text("\nB=2\n")
    compose = folder / "compose.yaml"
    compose.write_text(
        "services:\n"
        "  one: {env_file: a.env}\n"
        "  two: {env_file: [a.env, {path: b.env}, ../outside.env]}\n"
        "  three: {env_file: [link.env, none.env, /etc/passwd]}\n"
    )
    reading = read_source(compose)
    assert values(reading) == [("A", "1", 1), ("B", "2", 2)]
    assert [one.file for one in reading.variables] == [str(folder / "a.env"), str(folder / "b.env")]
    outside = "`env_file` lies outside this folder: import it by itself"
    assert [(note.line, note.message) for note in reading.notes] == [
        (3, outside),
        (4, outside),
        (4, "`env_file` cannot be read: `none.env`"),
    ]


def test_no_more_env_files_are_followed_than_the_bound(tmp_path: Path):
    for number in range(ENV_FILES_MAX + 1):
        (tmp_path / f"{number}.env").write_text(f"A{number}=1\n")
    names = ", ".join(f"{number}.env" for number in range(ENV_FILES_MAX + 1))
    compose = tmp_path / "compose.yaml"
    compose.write_text(f"services: {{web: {{env_file: [{names}]}}}}\n")
    reading = read_source(compose)
    assert len(reading.variables) == ENV_FILES_MAX
    assert len(reading.notes) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"STRIPE_KEY": "v1"},
        {"STRIPE_KEY": {"computed": "v1", "raw": "${X}", "note": "n"}},
        [{"key": "STRIPE_KEY", "value": "v1", "type": "shared"}],
        {"secrets": [{"secretKey": "STRIPE_KEY", "secretValue": "v1"}]},
        {"data": {"data": {"STRIPE_KEY": "v1"}}},
        {"title": "Stripe", "fields": [{"id": "f", "label": "key", "value": "v1"}]},
        {"item": {"overview": {"title": "x"}, "title": "Stripe", "details": {
            "fields": [{"title": "key", "value": {"concealed": "v1"}}]}}},
    ],
    ids=["object", "doppler", "infisical", "infisical-api", "vault", "1password", "1pux"],
)  # fmt: skip
@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_each_export_names_the_value(document: object, indent: int | str | None):
    from tidegate.catalog.known_variables import normal_name

    reading = read_data(json.dumps(document, indent=indent).encode(), "export.json", None)
    found = [
        one for one in reading.variables if one.value is not None and one.value.reveal() == b"v1"
    ]
    assert [normal_name(one.names[-1]) for one in found] == ["STRIPE_KEY"]
    assert not reading.notes


def test_a_source_beyond_a_bound_is_refused_or_noted(tmp_path: Path):
    with pytest.raises(SourceRefused, match="1,048,576 bytes"):
        read_data(b"#" * (SOURCE_BYTES_MAX + 1), ".env", None)
    assert not read_data(b"#" * SOURCE_BYTES_MAX, ".env", None).notes
    many = read_data(b"A=1\n" * (VARIABLES_MAX + 5), ".env", None)
    assert (len(many.variables), len(many.notes)) == (VARIABLES_MAX, 1)
    deep = read_data(b"[" * 100_000, "x.json", None)
    assert "nests deeper" in deep.notes[0].message
    bomb = "services:\n  a: &a {environment: {" + ",".join(f"K{n}: v" for n in range(99)) + "}}\n"
    bomb += "".join(f"  s{n}: *a\n" for n in range(1_000))
    assert "expands to more" in read_data(bomb.encode(), "c.yaml", None).notes[0].message
    with pytest.raises(SourceRefused, match="not a regular file"):
        read_source(tmp_path)
    with pytest.raises(SourceRefused, match="No such file"):
        read_source(tmp_path / "none")


def test_a_file_that_is_no_text_is_noted(tmp_path: Path):
    file = may_hold(tmp_path / ".env")
    file.write_bytes(b"A=1\nB=\xff\n")
    assert [(n.line, n.message) for n in read_source(file).notes] == [
        (2, "the file is not UTF-8 text")
    ]


@given(st.binary(max_size=400), st.sampled_from(SUFFIXES))
def test_no_bytes_make_a_reader_fail(data: bytes, suffix: str):
    read_data(data, f"source{suffix}", None)


@given(
    st.text(st.sampled_from("AB=\"'$\\#{}[]:,-&*!|> \n\t\r<x\x00\x85é"), max_size=120),
    st.sampled_from(SUFFIXES),
)
def test_no_marks_of_the_grammars_make_a_reader_fail(text: str, suffix: str):
    read_data(text.encode(), f"source{suffix}", None)
