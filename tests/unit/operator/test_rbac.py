"""The published roles are the operator's own list, and the list stays small."""

from pathlib import Path

import yaml

from longshore_operator import rbac

FILE = Path(__file__).parents[3] / "manifests/rbac.yaml"


def test_the_manifest_is_generated_from_the_list() -> None:
    assert rbac.manifest() == FILE.read_text(), "run `make generate`"


def test_every_rule_has_its_reason_and_no_wildcard() -> None:
    for rule in rbac.RULES + rbac.OWN_RULES:
        assert rule.reason
        assert not {"*"} & {rule.group, *rule.resources, *rule.verbs}


def test_the_manifest_holds_both_roles() -> None:
    assert ["ClusterRole", "Role"] == [document["kind"] for document in yaml.safe_load_all(FILE.read_text())]
