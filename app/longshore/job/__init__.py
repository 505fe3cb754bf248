"""What a job is and what happens to it next.

Everything here is a pure function of values and ``now``: no I/O, no clock, no Flask, no Kubernetes. The worker
and the operator share this room, so that a laptop and a cluster decide alike.
"""
