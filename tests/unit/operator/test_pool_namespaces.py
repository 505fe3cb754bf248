"""Whose pods are workers, and whose jobs they may run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.errors import ConfigError
from longshore_operator.pool_namespaces import EVERY, PoolNamespaces, parse
from longshore_operator.settings import load

NAMES = st.sampled_from(["ls", "team-a", "jobs-a", "jobs-b", "attacker"])
ASKED = st.frozensets(NAMES | st.just(EVERY))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("ls", {"ls": set()}),
        (" ls = , team-a = jobs-a | jobs-b ,", {"ls": set(), "team-a": {"jobs-a", "jobs-b"}}),
        ("ls=*", {"ls": {EVERY}}),
        ("ls=*|jobs-a", {"ls": {EVERY, "jobs-a"}}),
    ],
)
def test_the_setting_names_namespaces_and_what_they_serve(text: str, found: dict[str, set[str]]) -> None:
    assert found == parse(text)


@pytest.mark.parametrize(
    "text", ["Bad", "ls=Bad", "*", "ls,ls", "ls==a", "a/b", "ls\n", "ls=a\nb", "²", "-ls", "x" * 64, "=a"]
)
def test_a_setting_that_names_no_namespace_is_refused_by_name(text: str) -> None:
    if text == "ls\n":  # what surrounds a name is no part of it
        assert {"ls": set()} == parse(text)
        return
    with pytest.raises(ConfigError, match="POOL_NAMESPACES"):
        load({}, {"LONGSHORE_OPERATOR_POOL_NAMESPACES": text})


@given(namespace=NAMES, asked=ASKED, served=st.dictionaries(NAMES, ASKED))
def test_a_pod_runs_what_it_asks_for_and_the_setting_allows(
    namespace: str, asked: frozenset[str], served: dict[str, frozenset[str]]
) -> None:
    found = PoolNamespaces(served).narrow(namespace, asked)

    def runs(job: str) -> bool:
        return job in found or EVERY in found

    for job in ("ls", "team-a", "jobs-a", "jobs-b", "attacker", "never-named"):
        if namespace not in served:
            assert not runs(job)
            continue
        allowed = job in served[namespace] or EVERY in served[namespace]
        wanted = job in asked or EVERY in asked
        assert runs(job) == (job == namespace or (allowed and wanted)), job
