# The commands of the project; CI calls the same ones. `make help` prints this list.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 8080
PROBE_PORT ?= 8081
SAMPLES := longshore_samples.echo,longshore_samples.sleep,longshore_samples.fail,longshore_samples.primes,longshore_samples.wordcount,longshore_samples.hello
# A test at which a process of pytest ends is run again by the next one, and would be without end.
ONCE := --max-worker-restart 3

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup ## Start the laptop service with its sample handlers (PORT=8080)
	@LONGSHORE_APPS="$${LONGSHORE_APPS:-$(SAMPLES)}" LONGSHORE_PORT=$(PORT) LONGSHORE_PROBE_PORT=$(PROBE_PORT) exec $(VENV)/bin/longshore serve

dev: setup-dev ## Start it so that saved code and settings hold at once (DEBUGPY=127.0.0.1:5678: with a debugger)
	@LONGSHORE_APPS="$${LONGSHORE_APPS:-$(SAMPLES)}" LONGSHORE_PORT=$(PORT) LONGSHORE_PROBE_PORT=$(PROBE_PORT) \
	  exec $(VENV)/bin/longshore serve --dev $(if $(DEBUGPY),--debugpy $(DEBUGPY))

test: setup-dev system lint typecheck ## Set up everything and run all tests that this machine can
	@echo "== Kubernetes programs for the tests"
	@scripts/kube-tools >/dev/null || [ "$${CI:-}" != true ]
	@scripts/chart-tools >/dev/null || [ "$${CI:-}" != true ]
	@scripts/openapi-tools >/dev/null || [ "$${CI:-}" != true ]
	@if [ "$$(id -u)" = 0 ]; then scripts/kube-tools --node >/dev/null && scripts/images >/dev/null || [ "$${CI:-}" != true ]; fi
	@echo "== tests"
	@# Three, though machines of CI have two processors: tests of processes wait more than they compute. In the order of
	@# tests/conftest.py, not by the number of tests of a file.
	@failed=0; $(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ONCE) --ignore tests/e2e || failed=1; \
	  $(PY) -m pytest --numprocesses 2 --dist loadfile $(ONCE) tests/e2e || failed=1; exit $$failed

unit: setup-dev ## Run the fast tests alone
	@$(PY) -m pytest tests/unit

lint: setup-dev ## Check style
	@echo "== style"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

typecheck: setup-dev ## Check types
	@echo "== types"
	@$(VENV)/bin/mypy

format: setup-dev ## Rewrite the code in the project's style
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: setup-dev ## Measure, as ratios in one run
	@$(PY) -m bench
	@PYTHONPATH=tests $(PY) -m bench.applications
	@PYTHONPATH=tests $(PY) -m bench.cluster
	@$(PY) -m bench.scaler
	@$(PY) -m bench.schedules

generate: setup-dev ## Rewrite generated files
	@$(VENV)/bin/longshore openapi > docs/openapi.json
	@$(PY) -m longshore_operator.crds manifests/crds
	@$(PY) -m longshore_operator.rbac > manifests/rbac.yaml
	@$(VENV)/bin/longshore openapi --worker > docs/openapi-worker.json
	@cp manifests/crds/*.yaml charts/longshore/files/crds/
	@cp manifests/rbac.yaml charts/longshore/files/rbac.yaml
	@cp charts/longshore/values.yaml charts/longshore/files/defaults.yaml
	@scripts/chart-manifest > manifests/.install.yaml && mv manifests/.install.yaml manifests/install.yaml
	@"$$(scripts/chart-tools helm-docs)" --chart-search-root charts/longshore --log-level warning
	@"$$(scripts/chart-tools helm-docs)" --chart-search-root charts/longshore --log-level warning --sort-values-order file \
		--template-files values.md.gotmpl --output-file ../../docs/values.md

lock: setup-dev ## Pin all dependencies anew, by hash
	@scripts/lock

setup: ## Install the service into .venv
	@scripts/setup runtime

setup-dev: ## Install the service and the tools of its developers into .venv
	@scripts/setup dev

system: ## Install missing system packages (as root on Debian), or say which tests cannot run
	@scripts/system-packages

chaos: setup-dev ## Kill everything in turn under 10,000 jobs on a real API server (ten minutes)
	@CHAOS_JOBS=$${CHAOS_JOBS:-10000} $(PY) -m pytest -rP tests/kube/test_chaos.py

chaos-node: setup-dev system ## Kill parts of a real node in turn while a pool grows and shrinks under 10,000 jobs (an hour and more)
	@CHAOS_JOBS=$${CHAOS_JOBS:-10000} $(PY) -m pytest -rP tests/e2e/test_scaling_chaos.py

rough: setup-dev ## Try on a real API server what takes long: 3,000 jobs over 150 namespaces, arrays of 10,000 cut off, … (20 minutes)
	@ROUGH_SHARE=$${ROUGH_SHARE:-1} $(PY) -m pytest -rP tests/kube/rough_weather.py

kube-tools: ## Build the Kubernetes programs for the tests, once
	@scripts/kube-tools

chart-tools: ## Make helm and what else the tests of the chart need, once
	@scripts/chart-tools

cluster: setup-dev system ## Start a whole Kubernetes node with the images, as root on Debian, and print how to reach it
	@cd tests && ../$(PY) -m e2e

cluster-down: setup-dev ## Take it away, with all that is in it
	@cd tests && ../$(PY) -m e2e down

cluster-api: setup-dev ## Start a real API server by hand and print its kubeconfig (KUBE=1.35: an older one)
	@cd tests && exec ../$(PY) -m kube $(KUBE)

clean: ## Remove what the commands above made, but no data
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache


.PHONY: help run dev chaos chaos-node rough test unit lint typecheck format bench generate lock setup setup-dev system kube-tools chart-tools cluster cluster-down cluster-api clean
