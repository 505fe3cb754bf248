"""The Kubernetes operator: matches waiting Job resources to free slots and scales pools.

It imports ``longshore.job`` and nothing else of the worker; the two talk over HTTP.
"""
