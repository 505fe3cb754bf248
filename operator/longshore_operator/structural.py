"""The structural schema of a pydantic model: the JSON Schema dialect that the API server takes for custom resources.

It knows neither references nor alternatives nor titles, wants a type everywhere and, for affordable CEL rules, a bound on
everything that can grow. A null is dropped by the API server wherever ``nullable`` is not set, which is what "absent" means in
the models; ``nullable`` is set only where null differs from absent, because the field has another default.
"""

from typing import Any, Final

from pydantic import BaseModel

from longshore.job.patterns import portable

# For what a model leaves open. The longest such text are the index ranges of an array job: 5,000 numbers of 4 digits.
FALLBACK_LENGTH: Final = 32_768
FALLBACK_ITEMS: Final = 1_000
FALLBACK_PROPERTIES: Final = 16_384  # args: 64 KiB hold fewer

_INT32_MAX: Final = 2**31 - 1
_KEPT: Final[tuple[str, ...]] = (
    "type", "description", "enum", "format", "pattern", "required",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum",
)  # fmt: skip


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of what the model takes in as JSON; ValueError for what the dialect cannot say."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}), model.__name__)


def _convert(given: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    schema = _resolved(given, defs, path)
    found: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    if "pattern" in found:
        portable(found["pattern"])
    if schema.get("nullable"):
        found["nullable"] = True
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if _worth_saying(default := schema.get("default")):
        found["default"] = default
    if "type" not in schema:
        if set(schema) - {"description", "default", "title", "nullable"}:
            raise ValueError(f"{path}: no single type in {schema}")
        return {**found, "x-kubernetes-preserve-unknown-fields": True}  # any JSON
    return {**found, **_SHAPES[schema["type"]](schema, defs, path)}


def _resolved(given: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    """Without reference and without the alternative null; what stands beside a reference wins over what it says."""
    schema = dict(given)
    if "$ref" in schema:
        target = defs[schema.pop("$ref").removeprefix("#/$defs/")]
        return _resolved({**target, **schema}, defs, path)
    if "anyOf" in schema:
        kinds = [kind for kind in schema.pop("anyOf") if kind.get("type") != "null"]
        if len(kinds) != 1:
            raise ValueError(f"{path}: alternatives cannot be said in a structural schema")
        if _worth_saying(schema.get("default")):
            schema["nullable"] = True
        return _resolved({**kinds[0], **schema}, defs, path)
    return schema


def _worth_saying(default: object) -> bool:
    """Empty defaults mean the same as absence, and would be stored with every object."""
    return default is not None and default not in ("", [], {})


def _object(schema: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    inner = schema.get("additionalProperties")
    if "properties" in schema:
        fields = {name: _convert(field, defs, f"{path}.{name}") for name, field in schema["properties"].items()}
        return {"properties": fields}
    bound = {"maxProperties": schema.get("maxProperties", FALLBACK_PROPERTIES)}
    if isinstance(inner, dict):
        return {**bound, "additionalProperties": _convert(inner, defs, f"{path}.*")}
    return {**bound, "x-kubernetes-preserve-unknown-fields": True}


def _array(schema: dict[str, Any], defs: dict[str, Any], path: str) -> dict[str, Any]:
    bound = schema.get("maxItems", FALLBACK_ITEMS)
    return {"maxItems": bound, "items": _convert(schema["items"], defs, f"{path}[]")}


def _string(schema: dict[str, Any], _defs: dict[str, Any], _path: str) -> dict[str, Any]:
    closed = "enum" in schema or "const" in schema or "format" in schema
    return {} if closed else {"maxLength": schema.get("maxLength", FALLBACK_LENGTH)}


def _number(schema: dict[str, Any], _defs: dict[str, Any], _path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, side in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if side in schema:
            found |= {name: schema[side], side: True}
        if (bound := schema.get(name, 0)) != int(bound):
            # The API server cuts a bound to an integer where the value is one: 0 would pass a minimum of 0.001.
            comparison = f"self {'>=' if name == 'minimum' else '<='} {bound}"
            found["x-kubernetes-validations"] = [{"rule": comparison, "message": f"must hold: {comparison}"}]
    if schema["type"] == "integer":
        small = max(abs(schema.get("minimum", -(2**63))), abs(schema.get("maximum", 2**63))) <= _INT32_MAX
        found["format"] = "int32" if small else "int64"
    return found


def _boolean(_schema: dict[str, Any], _defs: dict[str, Any], _path: str) -> dict[str, Any]:
    return {}


_SHAPES: Final = {
    "object": _object, "array": _array, "string": _string, "integer": _number, "number": _number, "boolean": _boolean,
}  # fmt: skip
