# Two commands are enough on a fresh machine with Python 3.11: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := .venv-clients
CLIENTS_STAMP := $(CLIENTS)/.installed
PROXIES := .venv-proxies
PROXIES_STAMP := $(PROXIES)/.installed
MLFLOW := .venv-mlflow
MLFLOW_STAMP := $(MLFLOW)/.installed
# As compose.yaml names it.
IMAGE := ringside:0.1.0
NODE := tests/clients/node
NODE_STAMP := $(NODE)/node_modules/.installed
DATA ?=
# What is known to be missed (benchmarks/RESULTS.md), or has too few runs in a short form to be told from chance.
PROVE_ALLOWED := $(addprefix --allow ,equal_day_effects decline_rise_found streams_behind streams_behind_kept)
# What the hostile tests want from Debian besides.
HOSTILE_PACKAGES := nginx-light haproxy apache2-utils openjdk-17-jdk-headless curl
COMPILE := $(BIN)/uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --quiet
# What the integration tests want from Debian; without root or apt, those tests skip and say so.
PACKAGES := prometheus prometheus-alertmanager postgresql chromium strace btrfs-progs xfsprogs

.DEFAULT_GOAL := help
.PHONY: help setup clients node mlflow packages demo proxies hostile-packages test test-hostile test-faults test-data test-docker check format serve lock boards reference pictures stack pin prove prove-short verify bench-prove bench-serving bench-evidence bench-alarms bench-retrain-load bench-windows bench-quality bench-automl bench-many-classes

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with everything, from the hashed lock

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

clients: $(CLIENTS_STAMP)

# Other makers' clients that the tests call the service with; they want other versions than it runs on.
$(CLIENTS_STAMP): requirements-clients.lock | $(STAMP)
	test -x $(CLIENTS)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(CLIENTS)
	$(BIN)/uv pip sync --quiet --python $(CLIENTS)/bin/python --require-hashes requirements-clients.lock
	@touch $(CLIENTS_STAMP)

node: $(NODE_STAMP)

# Linters of /docs.json, and what generates a TypeScript client from it; the tests say so where Node is not there.
$(NODE_STAMP): $(NODE)/package.json $(NODE)/package-lock.json
	@if command -v npm >/dev/null && (cd $(NODE) && npm ci --silent --no-audit --no-fund); then \
		touch $(NODE_STAMP); \
	else \
		echo "No npm, or no packages for it: the tests of the document in JavaScript's tools will skip."; \
	fi

proxies: $(PROXIES_STAMP)

# Proxies, and Go, that are published as Python packages: the hostile tests put them before the service.
$(PROXIES_STAMP): requirements-proxies.lock | $(STAMP)
	test -x $(PROXIES)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(PROXIES)
	$(BIN)/uv pip sync --quiet --python $(PROXIES)/bin/python --require-hashes requirements-proxies.lock
	@touch $(PROXIES_STAMP)

# Installed without being started: they are programs for the tests, not services of this machine.
hostile-packages:
	@if { PATH="$$PATH:/usr/sbin"; command -v nginx && command -v haproxy && command -v ab && command -v javac && command -v curl; } >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $(HOSTILE_PACKAGES) >/dev/null; \
	else \
		echo "Not root, or no apt-get: tests that want $(HOSTILE_PACKAGES) will skip."; \
	fi

mlflow: $(MLFLOW_STAMP)

# The MLflow server that the tests log to; MLflow 3 wants other versions than the service runs on.
$(MLFLOW_STAMP): requirements-mlflow.lock | $(STAMP)
	test -x $(MLFLOW)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(MLFLOW)
	$(BIN)/uv pip sync --quiet --python $(MLFLOW)/bin/python --require-hashes requirements-mlflow.lock
	@touch $(MLFLOW_STAMP)

packages:
	@missing=""; \
	command -v prometheus >/dev/null && command -v promtool >/dev/null || missing=1; \
	command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null || missing=1; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing=1; \
	command -v chromium >/dev/null && command -v strace >/dev/null || missing=1; \
	{ PATH="$$PATH:/usr/sbin" && command -v mkfs.btrfs && command -v mkfs.xfs; } >/dev/null || missing=1; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES) >/dev/null; \
		else \
			echo "Not root, or no apt-get: tests that want $(PACKAGES) will skip."; \
		fi; \
	fi

demo: setup  ## Run the whole loop live on a year of New York flights (about six minutes)
	$(BIN)/ringside demo $(ARGS)

test: setup clients node mlflow packages  ## Run the tests
	$(BIN)/pytest -n 2 --dist loadfile -m "not data and not docker and not hostile and not faults" $(ARGS)

test-hostile: setup proxies packages hostile-packages  ## Attack a running service: framings through five proxies, floods, other makers' clients (six minutes)
	$(BIN)/pytest -m hostile tests/hostile $(ARGS)

test-faults: setup packages  ## Run the tests of the machine's faults: clocks, restores, signals, log output (minutes)
	$(BIN)/pytest -m faults tests/faults $(ARGS)

test-data: setup  ## Run the tests on real datasets: make test-data DATA=folder
	$(BIN)/pytest -m data --data "$(DATA)" $(ARGS)

test-docker: setup  ## Run the tests that need docker's compose client
	$(BIN)/pytest -m docker $(ARGS)

check: setup  ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: setup  ## Run service and watcher for ./ringside.toml
	$(BIN)/ringside up $(ARGS)

boards: setup  ## Write the Grafana boards, and Prometheus' page for operators, anew
	$(BIN)/python -m dashboards.build

reference: setup  ## Write the reference pages (settings, metrics, events, command line) from the code anew
	$(BIN)/python -m docs.reference

pictures: setup packages  ## Run the demo, and draw the boards' panels from Prometheus into docs/boards (about seven minutes)
	nice $(BIN)/python -m dashboards.pictures $(ARGS)

# In the image, as whoever calls: the host needs Docker with Compose v2, and no Python.
stack:  ## Make tokens and folders for compose.yaml (needs Docker with Compose v2, and nothing else)
	@docker compose version >/dev/null 2>&1 || { echo "Docker with Compose v2 is needed (\`docker compose version\`);" \
		"docker-compose 1 cannot read compose.yaml: https://docs.docker.com/compose/install/"; exit 1; }
	docker build --quiet --tag $(IMAGE) . >/dev/null
	docker run --rm --network none --user "$$(id -u):$$(id -g)" --env HOME=/tmp --env PYTHONPATH= \
		--volume "$(CURDIR):/checkout" --workdir /checkout $(IMAGE) python -m dashboards.prepare

pin: setup  ## Pin the images of compose.yaml and the Dockerfile to digests that your docker client looks up
	$(BIN)/python -m dashboards.pin

bench-serving: setup  ## Measure the predict path beside its peers, with wrk and hey (about fifteen minutes)
	$(BIN)/python -m benchmarks.serving --write $(ARGS)

prove: setup  ## Measure what decisions promise: make prove ARGS="--quick --data folder" (whole: about an hour of two cores)
	$(BIN)/ringside prove $(ARGS)

prove-short: setup
	$(BIN)/ringside prove --short $(PROVE_ALLOWED) --allow power_independent_median  # of twenty runs: 2,226 of a hundred

verify:  ## Everything that has to hold, in its whole form: make verify DATA=folder (about forty minutes)
	$(MAKE) check
	$(MAKE) prove ARGS="--quick $(if $(DATA),--data $(DATA)/streams) $(PROVE_ALLOWED)"
	$(MAKE) test
	$(MAKE) test-hostile
	$(if $(DATA),$(MAKE) test-data DATA="$(DATA)")
	$(MAKE) test-faults

bench-prove: setup  ## The same whole, written into benchmarks/RESULTS.md with its picture
	$(BIN)/python -m benchmarks.prove --write $(ARGS)

bench-evidence: setup  ## Simulate the evidence rule: false and missed promotions (minutes)
	$(BIN)/python -m benchmarks.evidence $(ARGS)

bench-alarms: setup  ## Measure false and missed drift alarms beside rivals (about an hour): ARGS="--data folder"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.alarms --write $(ARGS)

bench-retrain-load: setup  ## Measure the predict path during a retrain, with hey (three minutes)
	$(BIN)/python -m benchmarks.retrain_load --write $(ARGS)

bench-windows: setup  ## Measure drift checks of a million rows and of 200 columns (about ten minutes)
	$(BIN)/python -m benchmarks.windows --write $(ARGS)

bench-quality: setup  ## Hold estimated quality against the labels that come later (minutes; ARGS="--data DIR")
	$(BIN)/python -m benchmarks.quality --write $(ARGS)

bench-many-classes: setup  ## Measure the run, the size and the load time of models of 300 classes (about a minute)
	$(BIN)/python -m benchmarks.many_classes --write $(ARGS)

bench-automl: setup  ## Rank the retrain job beside AutoML peers (an hour for ours alone): make bench-automl DATA=folder
	$(BIN)/python -m benchmarks.automl --data "$(DATA)" --write $(ARGS)

lock:  ## Resolve the dependencies anew: everything, what the image runs, what only serves, what the tests call
	$(COMPILE) --upgrade --all-extras --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --constraint requirements.lock --all-extras --group image pyproject.toml -o requirements-run.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml -o requirements-serve.lock
	$(COMPILE) --upgrade --group clients -o requirements-clients.lock
	$(COMPILE) --upgrade --group mlflow -o requirements-mlflow.lock
	$(COMPILE) --upgrade --group proxies -o requirements-proxies.lock
	@! grep -nE '://|^ringside' requirements*.lock
