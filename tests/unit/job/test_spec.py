"""What a specification takes and what it refuses."""

import json

import pytest
from pydantic import ValidationError

from longshore.job.idempotency import fingerprint, name_from_key, name_from_time
from longshore.job.spec import MAX_ARGS_BYTES, Manifest, Resources, Submission, item_args, parse_spec, spec_json


def parse_submission(text: str | bytes) -> Submission:
    return Submission.model_validate_json(text, by_alias=True, by_name=False)


def wrong(**fields: object) -> list[str]:
    """Fields that a submission with these is refused for."""
    with pytest.raises(ValidationError) as found:
        parse_submission(json.dumps({"handler": "h", **fields}))
    return [".".join(map(str, error["loc"])) for error in found.value.errors()]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unknown", 1), ("max_retries", 1), ("maxRetries", "1"), ("maxRetries", -1), ("maxRetries", 1.5),
        ("maxRetries", True), ("priority", 10**9), ("queue", "No Such"), ("queue", ""), ("handler", "1x"),
        ("name", "a..b"), ("name", "A"), ("name", "x" * 254), ("args", []), ("args", {"x": "y" * MAX_ARGS_BYTES}),
        ("startAfter", "2026-01-01T00:00:00"), ("startAfter", 5), ("startAfter", "soon"), ("timeoutSeconds", 0),
        ("timeoutSeconds", -1), ("labels", {"a b": "c"}), ("labels", {"a": "x y"}), ("after", ["a", "a"]),
        ("items", []), ("items", [1]), ("count", 0), ("count", 10_001), ("cancel", 1), ("redrive", -1),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_its_name(field: str, value: object) -> None:
    assert any(location.split(".")[0] == field for location in wrong(**{field: value}))


@pytest.mark.parametrize(
    "fields",
    [
        {"command": ["true"]}, {"items": [{}], "count": 1}, {"parallelism": 2}, {"env": {"A": "b"}},
        {"handler": None},
    ],
)  # fmt: skip
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, object]) -> None:
    assert wrong(**fields)


def test_deep_and_endless_arguments_are_refused() -> None:
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    assert ["args"] == wrong(args={"x": deep})
    for text in ("NaN", "Infinity", "1e999"):
        with pytest.raises(ValidationError):
            parse_spec(f'{{"handler": "h", "args": {{"x": {text}}}}}')
    with pytest.raises(ValidationError):
        parse_spec('{"handler": "h", "args": {"x": ' + "[" * 5000 + "]" * 5000 + "}}")


def test_an_integral_float_is_an_integer_as_json_schema_has_it() -> None:
    assert 7 == parse_spec(b'{"handler": "h", "maxRetries": 7.0}').max_retries


def test_what_is_stored_is_what_was_set() -> None:
    text = b'{"handler":"h","args":{"x":1},"retry":{"except":["ValueError"]},"startAfter":"2026-01-01T01:00:00+01:00"}'

    assert json.loads(spec_json(parse_spec(text))) == {
        "handler": "h", "args": {"x": 1}, "retry": {"except": ["ValueError"]}, "startAfter": "2026-01-01T01:00:00+01:00",
    }  # fmt: skip


def test_a_manifest_and_a_submission_are_the_same_request() -> None:
    manifest = Manifest.model_validate_json(json.dumps({
        "apiVersion": "longshore.dev/v1alpha1", "kind": "Job", "metadata": {"name": "a", "labels": {"k": "v"}},
        "spec": {"handler": "h", "priority": 3},
    }))  # fmt: skip
    same = parse_submission(b'{"handler": "h", "priority": 3, "name": "a", "labels": {"k": "v"}}')

    assert spec_json(same) == spec_json(manifest.submission())
    assert (same.name, same.labels) == (manifest.submission().name, manifest.submission().labels)


def test_items_lie_over_the_shared_arguments() -> None:
    spec = parse_spec(b'{"handler": "h", "args": {"a": 1, "b": 1}, "items": [{"b": 2}, {}]}')

    assert [{"a": 1, "b": 2}, {"a": 1, "b": 1}] == [item_args(spec, index) for index in range(2)]


@pytest.mark.parametrize(("text", "size"), [("512Mi", 512 << 20), ("1k", 1000), ("7", 7), ("2Gi", 2 << 30)])
def test_memory_is_written_as_kubernetes_writes_it(text: str, size: int) -> None:
    assert size == Resources(memory=text).memory_bytes


def test_key_order_and_white_space_make_no_other_request() -> None:
    assert fingerprint("POST", "/x", {"a": 1, "b": 2}) == fingerprint("POST", "/x", {"b": 2, "a": 1})
    assert fingerprint("POST", "/x", {"a": 1}) != fingerprint("POST", "/y", {"a": 1})


def test_names_sort_by_time_and_are_names() -> None:
    names = [name_from_time(1_700_000_000 + n, 2**80 - 1 - n) for n in range(3)]

    assert sorted(names) == names
    for name in (*names, name_from_key("any key at all / with spaces")):
        assert parse_submission(json.dumps({"handler": "h", "name": name})).name == name
        assert len(name) <= 63
