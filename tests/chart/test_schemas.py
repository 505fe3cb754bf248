"""Every object fits the schema of the oldest and of the newest Kubernetes that the chart is for."""

from typing import Any

import kubernetes_validate
import pytest

from helm_chart import MATRIX, NEWEST, OLDEST, render

NO_SCHEMA = (
    "CustomResourceDefinition",
    "HTTPRoute",
    "ScaledObject",
)  # a real API server takes the first; the others are other projects'


@pytest.mark.parametrize("kube", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_object_fits_the_schema(values: dict[str, Any], kube: str) -> None:
    for one in render(values, kube=kube):
        if one["kind"] not in NO_SCHEMA:
            kubernetes_validate.validate(one, kube, strict=True)
