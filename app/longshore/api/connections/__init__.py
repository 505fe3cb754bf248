"""Connections of callers: read ahead of the threads, bounded in number, bytes and time, and refused in problem+json.

This room is what gunicorn runs. Its arbiter imports it too, so nothing here may import Flask or the application.
"""
