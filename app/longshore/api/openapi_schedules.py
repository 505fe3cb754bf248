"""The part of the OpenAPI document that is about schedules."""

from longshore.api import openapi
from longshore.api.openapi_schemas import TEXT, Json, ref


def paths() -> Json:
    """Routes of schedules by their path."""
    content, operation = openapi.content, openapi.operation
    parameter, key = openapi.parameter, openapi.KEY
    pattern = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
    name = parameter("name", {**TEXT, "maxLength": 253, "pattern": pattern}, "Name of the schedule.", "path")
    change = (name, openapi.MATCH, openapi.NOT_MATCH)
    schedule, refused = content(ref("Schedule")), (400, 409, 412, 413, 415, 422, 429)
    nightly = {"name": "nightly", "cron": "0 3 * * *", "jobTemplate": {"spec": {"handler": "echo"}}}

    def body(model: str, example: Json) -> Json:
        one_of = {"anyOf": [ref(model), ref("ScheduleManifest")]}
        return {**content(one_of, example=example), **content(ref("ScheduleManifest"), "application/yaml")}

    def verb(called: str, summary: str) -> Json:
        return {"post": operation("schedules", called, summary, {200: ("Done.", schedule)}, parameters=(*change, key),
                                  problems=(404, 412, 422))}  # fmt: skip

    return {
        "/v1/schedules": {
            "get": operation("schedules", "listSchedules", "One page of schedules, by name.", {
                200: ("A page.", content(ref("SchedulePage")))}, problems=(422,), parameters=(
                parameter("limit", openapi.LIMIT, "Schedules on the page; at most 1,000."),
                parameter("cursor", TEXT, "nextCursor of the page before."))),
            "post": operation("schedules", "createSchedule", "Make a schedule.", {
                201: ("Kept, durably.", schedule), 200: ("There is the same one already.", schedule)}, problems=refused,
                parameters=(key, openapi.MATCH, openapi.NOT_MATCH), body=body("ScheduleSubmission", nightly), body_required=True),
        },
        "/v1/schedules/{name}": {
            "get": operation("schedules", "getSchedule", "One schedule, with its next times.", {
                200: ("The schedule.", schedule), 304: ("As the caller has it.", None)}, problems=(404, 405, 422), parameters=(
                name, openapi.NONE_MATCH, parameter("next", {"type": "integer", "minimum": 0, "maximum": 100}, "How many of its next times; 1 unless it is given."))),
            "put": operation("schedules", "putSchedule", "Make a schedule, or replace it as a whole.", {
                201: ("Made.", schedule), 200: ("Replaced.", schedule)}, problems=(*refused, 404, 405), parameters=change,
                body=body("ScheduleReplacement", {field: value for field, value in nightly.items() if field != "name"}), body_required=True),
            "delete": operation("schedules", "deleteSchedule", "Remove a schedule and its jobs.", {204: ("Gone.", None)},
                                problems=(404, 405, 409, 412, 422), parameters=change),
        },
        "/v1/schedules/{name}:pause": verb("pauseSchedule", "Create no more jobs."),
        "/v1/schedules/{name}:resume": verb("resumeSchedule", "Go on; times that passed meanwhile are not made up for."),
        "/v1/schedules/{name}:trigger": {"post": operation(
            "schedules", "triggerSchedule", "A job of the schedule now, whatever the clock says.", {202: ("Kept, durably.", content(ref("Job")))},
            problems=(404, 409, 412, 422, 429), parameters=(*change, key))},
    }  # fmt: skip
