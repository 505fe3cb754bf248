"""Jobs as resources of a Kubernetes cluster: the only room of the api that talks to an API server.

It holds nothing that it could not read again: every answer comes from the API server or from one shared watch.
"""
