"""The Flask application: the only HTTP door, stateless. It knows ``store.port`` and nothing of the engine."""
