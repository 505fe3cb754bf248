"""What the operator's settings say together."""

import pytest

from longshore_operator import settings
from longshore_operator.errors import ConfigError
from longshore_operator.kube.client import outside


def test_a_namespace_is_not_both_watched_and_excluded() -> None:
    with pytest.raises(ConfigError, match="namespaces and exclude_namespaces both name b"):
        settings.load({"namespaces": "a,b", "exclude_namespaces": "b,c"}, {})


def test_the_api_server_is_asked_to_leave_excluded_namespaces_out() -> None:
    assert "phase!=Done,metadata.namespace!=a,metadata.namespace!=b" == outside(["a", "b"], "phase!=Done")
    assert "metadata.namespace!=a" == outside(["a"])
    assert ("", "phase!=Done") == (outside([]), outside([], "phase!=Done"))
