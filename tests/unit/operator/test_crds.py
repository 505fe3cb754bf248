"""The resource definitions: up to date, bounded everywhere, described everywhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from longshore.job.spec import MUTABLE_FIELDS, JobSpec
from longshore_operator.crds import documents, job_crd, main, queue_crd, schedule_crd
from longshore_operator.structural import structural

FOLDER = Path(__file__).parents[3] / "manifests/crds"
CRDS = {"job": job_crd(), "queue": queue_crd(), "schedule": schedule_crd()}


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[]")


NODES = [(f"{kind}{path}", node) for kind, crd in CRDS.items() for path, node in nodes(schema_of(crd))]


def test_the_files_are_what_the_models_say(tmp_path: Path) -> None:
    main([str(tmp_path)])

    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == {
        path.name: path.read_text() for path in tmp_path.iterdir()
    }, "run `make generate`"
    assert CRDS["job"] == yaml.safe_load(documents()["job.yaml"])


def test_the_command_line_wants_a_folder() -> None:
    with pytest.raises(SystemExit, match="usage"):
        main([])


def test_everything_is_described() -> None:
    fields = [(path, node) for path, node in NODES if re.search(r"\.(spec|status)\b", path) and not path.endswith("[]")]

    assert len(fields) > 100
    assert [] == [path for path, node in fields if not node.get("description", "").endswith((".", "…"))]


def test_everything_that_can_grow_is_bounded() -> None:
    unbounded = []
    for path, node in NODES:
        kind = node.get("type")
        free = kind == "object" and "properties" not in node and not path.endswith(".metadata")
        text = (
            kind == "string"
            and not {"enum", "format"} & set(node)
            and path.split(".", 1)[1] not in ("apiVersion", "kind")
        )
        if (free and "maxProperties" not in node) or (text and "maxLength" not in node):
            unbounded.append(path)
        if kind == "array" and "maxItems" not in node:
            unbounded.append(path)

    assert [] == unbounded


def test_the_dialect_is_kept() -> None:
    foreign = {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "ge", "le", "gt", "lt", "$defs", "uniqueItems"}

    assert [] == [path for path, node in NODES if foreign & set(node)]
    assert [] == [
        path for path, node in NODES if node.get("type") is None and "x-kubernetes-preserve-unknown-fields" not in node
    ]
    assert {"int32", "int64"} == {node.get("format") for _, node in NODES if node.get("type") == "integer"}


def test_bounds_arrive_whatever_stands_between_them_and_the_type() -> None:
    fields = structural(JobSpec)["properties"]

    assert (-1_000_000, 1_000_000) == (fields["priority"]["minimum"], fields["priority"]["maximum"])
    assert (0, True) == (fields["timeoutSeconds"]["minimum"], fields["timeoutSeconds"]["exclusiveMinimum"])
    assert "exclusiveMinimum" not in fields["ttlSecondsAfterFinished"]


def test_every_field_of_a_specification_but_three_is_frozen() -> None:
    spec = schema_of(CRDS["job"])["properties"]["spec"]
    changed = {
        name for name, field in spec["properties"].items()
        if {"self == oldSelf"} == {rule["rule"] for rule in field.get("x-kubernetes-validations", ())}
    }  # fmt: skip
    (presence,) = (rule["rule"] for rule in spec["x-kubernetes-validations"] if "messageExpression" in rule)
    came_or_went = set(re.findall(r"has\(self\.(\w+)\) == has\(oldSelf\.\1\)", presence))

    assert set(structural(JobSpec)["properties"]) - MUTABLE_FIELDS == changed == came_or_went


def test_the_status_stores_no_defaults_but_three() -> None:
    for kind, crd in CRDS.items():
        defaults = {path for path, node in nodes(schema_of(crd)["properties"]["status"]) if "default" in node}
        assert ({"", ".phase", ".attempts", ".redrives"} if kind == "job" else set()) == defaults


def test_null_is_kept_only_where_it_means_something() -> None:
    assert ["queue.spec.ageingSeconds"] == [path for path, node in NODES if node.get("nullable")]


def test_what_the_dialect_cannot_say_is_refused() -> None:
    class Loose(BaseModel):
        value: int | str

    with pytest.raises(ValueError, match=r"Loose\.value: alternatives"):
        structural(Loose)


def test_at_most_eight_fields_can_be_selected() -> None:
    fields = [field["jsonPath"] for field in CRDS["job"]["spec"]["versions"][0]["selectableFields"]]

    assert [".spec.queue", ".spec.handler", ".status.phase"] == fields
