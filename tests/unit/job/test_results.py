"""Names in the results directory: what they say, and what never gets into one."""

import pytest

from longshore.job.results import OUTPUT, RESULT, KeptFile, parse

UID = "0b3d5e6f-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (KeptFile("default", UID, None, 3, "0a1b2c3d", RESULT), f"default/{UID}/job.3.0a1b2c3d.json"),
        (KeptFile("a-1", UID, 9999, 12, "ffffffff", OUTPUT), f"a-1/{UID}/9999.12.ffffffff.log"),
        (KeptFile("x", "by-hand", 0, 999_999_999, "00000000", RESULT), "x/by-hand/0.999999999.00000000.json"),
    ],
)
def test_a_name_says_what_the_file_is(file: KeptFile, name: str) -> None:
    assert (name, file) == (file.name, parse(name))


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", f"../{UID}/job.1.0a1b2c3d.json", "a/../job.1.0a1b2c3d.json", f"a/{UID}/../{UID}/job.1.0a1b2c3d.json",
        f"a/{UID}/job.0.0a1b2c3d.json", f"a/{UID}/job.01.0a1b2c3d.json", f"a/{UID}/-1.1.0a1b2c3d.json",
        f"a/{UID}/job.1.0A1B2C3D.json", f"a/{UID}/job.1.0a1b2c3d.json\n", f"a/{UID}/job.1.0a1b2c3d.exe", f"a/{UID}/.0123456789abcdef",
        f"A/{UID}/job.1.0a1b2c3d.json", "a//job.1.0a1b2c3d.json", f"a/{UID}/job.1.0a1b2c3d.json/x", f"a\0/{UID}/job.1.0a1b2c3d.json",
    ],
)  # fmt: skip
def test_nothing_else_is_a_name(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize(
    ("namespace", "uid", "boot"),
    [
        ("..", UID, "0a1b2c3d"),
        ("a", "../b", "0a1b2c3d"),
        ("a", "", "0a1b2c3d"),
        ("a", UID, "x"),
        ("a/b", UID, "0a1b2c3d"),
    ],
)
def test_what_is_no_identity_gets_into_no_name(namespace: str, uid: str, boot: str) -> None:
    with pytest.raises(ValueError, match="no name of a result"):
        _ = KeptFile(namespace, uid, None, 1, boot, RESULT).name


def test_a_result_is_of_one_attempt() -> None:
    file = KeptFile("a", UID, None, 1, "0a1b2c3d", RESULT)

    assert file.of("a", UID, None, 1)
    assert not any(
        [file.of("b", UID, None, 1), file.of("a", "x", None, 1), file.of("a", UID, 0, 1), file.of("a", UID, None, 2)]
    )
    assert not KeptFile("a", UID, None, 1, "0a1b2c3d", OUTPUT).of("a", UID, None, 1)
