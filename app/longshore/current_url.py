"""The variable by which the engine tells its slots where their service takes jobs."""

# Not LONGSHORE_…: those are settings, and an unknown one is refused.
JOBS_URL = "_LONGSHORE_JOBS_URL"
