module longshore.invalid/prometheus-operator-crds

go 1.26.0

// Only its custom resource definitions are wanted; nothing of it is built.
require github.com/prometheus-operator/prometheus-operator v0.85.0
