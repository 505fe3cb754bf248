"""What is wrong with a value, in words for whoever wrote it: a validation library's own words are for programmers."""

import re

# By pydantic's type of error.
_SENTENCES = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "json_invalid": "is not JSON",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "set_type": "should be a list",
    "string_type": "should be text",
    "bytes_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "none_required": "should be null",
}
_LENGTH = re.compile(
    r"^\w+ should have at (most|least) (\d+) (item|character|byte)s?(?: after validation)?, not (\d+)$"
)
_PATTERN = re.compile(r"^String should match pattern '(.*)'$", re.DOTALL)
_BEGINNINGS = ("Value error, ", "Assertion failed, ")


def sentence(kind: str, message: str) -> str:
    """A fault as a sentence that goes on from the name of its field, from pydantic's ``type`` and ``msg`` of it."""
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    for beginning in _BEGINNINGS:
        if message.startswith(beginning):
            return message.removeprefix(beginning)
    if (found := _LENGTH.fullmatch(message)) is not None:
        bound, count, thing, there = found.groups()
        return f"should have at {bound} {count} {thing}{'' if count == '1' else 's'}, not {there}"
    if (found := _PATTERN.fullmatch(message)) is not None:
        return f"should match the pattern {found[1]}"
    return re.sub(
        r"^(?:JSON )?(?:Input|String|Data|Value|URL|Datetime|List|Tuple|Number|Decimal) should ", "should ", message
    )
