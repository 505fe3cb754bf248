"""Where jobs are kept: one port, an implementation per place.

This is the only room that knows SQL or a Kubernetes client. ``port`` is what the api sees.
"""
