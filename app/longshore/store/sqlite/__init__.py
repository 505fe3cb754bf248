"""Jobs in one SQLite file: a single writer in the engine, read-only connections in the api."""
