"""Benchmarks: everything is measured against an anchor in the same run, and printed as ratios; nothing ever fails a build."""
