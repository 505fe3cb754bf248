"""The child: a warm process that runs one job at a time. It imports nothing of the engine."""
