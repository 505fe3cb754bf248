module longshore.invalid/keda-tool

go 1.26.0

// For its custom resource definitions; nothing of it is compiled, so `go mod tidy` would take it away.
require github.com/kedacore/keda/v2 v2.21.0
