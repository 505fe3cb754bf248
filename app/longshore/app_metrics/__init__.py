"""Metrics of applications: counters, gauges and histograms that many processes feed and one scrape shows.

``metrics`` is what applications import, ``declared`` what they have declared, ``changes`` what a process has counted
and not sent yet, ``totals`` the sum over all processes, which is kept by the engine (on a laptop and in a worker) or by
the api process of a cluster. A slot imports this room, so it imports no Prometheus library, no engine, no Flask.
"""
