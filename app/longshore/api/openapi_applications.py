"""Routes of applications in the OpenAPI document: typed ones by their models, others by path and docstring."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from flask import Flask
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from longshore.api.openapi import content, operation, parameter
from longshore.api.openapi_schemas import Json
from longshore.api.typed_views import TypedView, contract_of
from longshore.apps import Apps

_VARIABLE = re.compile(r"<(?:([a-zA-Z_]\w*)(?:\(.*?\))?:)?([a-zA-Z_]\w*)>")
_TYPES: Mapping[str, Json] = {
    "int": {"type": "integer", "minimum": 0}, "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}  # fmt: skip
_OURS = frozenset({"HEAD", "OPTIONS"})  # answered without the view
Mode = Literal["validation", "serialization"]


def with_applications(document: bytes, app: Flask, apps: Apps) -> bytes:
    """The document, and in it every route of the applications' blueprints."""
    whole = orjson.loads(document)
    for module, blueprint in apps.blueprints:
        described = f"Routes of the application {module}."
        whole["tags"].append({"name": blueprint.name, "description": described})
        for rule in app.url_map.iter_rules():
            if rule.endpoint.rpartition(".")[0] != blueprint.name:
                continue
            operations, schemas = _operations(app, blueprint.name, rule)
            whole["paths"].setdefault(_VARIABLE.sub(r"{\2}", rule.rule), {}).update(operations)
            whole["components"]["schemas"] |= schemas
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _operations(app: Flask, tag: str, rule: Rule) -> tuple[Json, Json]:
    """One for each method of the route, and the schemas that they refer to."""
    view = app.view_functions[rule.endpoint]
    summary, _, text = (inspect.getdoc(view) or f"{rule.rule} of the application.").partition("\n\n")
    variables = tuple(
        parameter(name, _TYPES.get(kind, {"type": "string"}), "Of the path.", "path")
        for kind, name in _VARIABLE.findall(rule.rule)
    )
    methods = sorted((rule.methods or set()) - _OURS)
    operations: Json = {}
    schemas: Json = {}
    for method in methods:
        name = rule.endpoint.replace(".", "_") + (f"_{method.lower()}" if len(methods) > 1 else "")
        typed = contract_of(view)
        if typed is None:
            found = operation(
                tag, name, summary.replace("\n", " "), {200: ("The view's answer.", None)}, parameters=variables
            )
        else:
            found, own = _typed(tag, name, summary.replace("\n", " "), typed, variables)
            schemas |= own
        operations[method.lower()] = found | ({"description": text} if text else {})
    return operations, schemas


def _typed(tag: str, name: str, summary: str, typed: TypedView, variables: tuple[Json, ...]) -> tuple[Json, Json]:
    schemas: Json = {}

    def of(found: tuple[Json, Json]) -> Json:
        schemas.update(found[1])
        return found[0]

    body = content(of(_of_model(name, typed.body))) if typed.body is not None else None
    query = _parameters(of(_of_model(name, typed.query)), schemas) if typed.query is not None else ()
    answer = content(of(_of_answer(name, typed.answer))) if typed.answer is not None else None
    problems = (400, 413, 415, 422) if body is not None else (422,) if query else ()
    found = operation(
        tag, name, summary, {typed.status: ("The view's answer.", answer)}, problems=problems,
        parameters=(*variables, *query), body=body, body_required=body is not None,
    )  # fmt: skip
    return found, schemas


def _of_model(name: str, model: type[BaseModel]) -> tuple[Json, Json]:
    """A reference to the model, and the schemas behind it, under names that no other route has."""
    template = f"#/components/schemas/{name}.{{model}}"
    refs, definitions = models_json_schema([(model, "validation")], ref_template=template)
    found = {f"{name}.{key}": value for key, value in definitions.get("$defs", {}).items()}
    return refs[(model, "validation")], found


def _of_answer(name: str, answer: TypeAdapter[Any]) -> tuple[Json, Json]:
    template = f"#/components/schemas/{name}.Answer.{{model}}"
    schema = answer.json_schema(ref_template=template, mode="serialization")
    found = {f"{name}.Answer.{key}": value for key, value in schema.pop("$defs", {}).items()}
    return schema, found


def _parameters(reference: Json, schemas: Json) -> tuple[Json, ...]:
    """The fields of a query's model as parameters."""
    model = schemas.pop(reference["$ref"].rpartition("/")[2])
    required = model.get("required", ())
    return tuple(
        {**parameter(name, {k: v for k, v in schema.items() if k != "description"}, schema.get("description", "")),
         "required": name in required}
        for name, schema in model.get("properties", {}).items()
    )  # fmt: skip
