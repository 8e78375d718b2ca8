SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
# Tests start many processes: modules are compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

# Many tests wait for processes and for the disk: more of them than there are cores.
PYTEST := $(PYTHON) -m pytest -n 3

# Many tests drive real processes, which a busy machine can starve: what failed beside others gets
# one more chance alone. What fails then as well, fails.
run_tests = $(PYTEST) --db $(1) -m "$(2)" || $(PYTHON) -m pytest --db $(1) -m "$(2)" --last-failed

# A site as in production, whose checks must find nothing.
PRODUCTION := env -u DEBUG DJANGO_DEBUG=false ALLOWED_HOSTS=signoff.example EMAIL_URL=smtp://mail.example:25 \
	DURABLE_GATEWAY=off SECRET_KEY=$$(head -c 48 /dev/urandom | base64 -w 0) DATABASE_URL=sqlite:///var/check.sqlite3 \
	SECURE_HSTS_SECONDS=31536000 SECURE_HSTS_INCLUDE_SUBDOMAINS=true SECURE_HSTS_PRELOAD=true

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort \
		| awk 'BEGIN {FS = ":.*## "} {printf "%-15s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(INSTALLED) ## Build .venv with the locked development requirements

$(INSTALLED): requirements/dev.txt .python-version scripts/find_python.sh
	@if ! scripts/find_python.sh $(PYTHON) >/dev/null 2>&1; then \
		python="$$(scripts/find_python.sh)"; \
		echo "Building .venv with $$python"; \
		"$$python" -m venv --clear .venv; \
	fi
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: setup-browser
setup-browser: ## Install Debian's Chromium for the browser tests, where that is possible
	@if command -v chromium >/dev/null; then \
		:; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium"; \
		{ apt-get update -qq \
			&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				chromium fonts-dejavu-core >/dev/null; } \
			|| echo "Chromium could not be installed: the browser tests will be skipped." >&2; \
	else \
		echo "Chromium is not installed: the browser tests will be skipped." >&2; \
		echo "Install it as root, with: apt-get install chromium" >&2; \
	fi

.PHONY: demo
demo: setup ## Try it: sample data, a worker and the pages on 127.0.0.1:8001 (ARGS="--port 8002")
	SIGNOFF_DEMO=1 $(PYTHON) manage.py demo $(ARGS)

.PHONY: test
test: setup setup-browser ## Run the tests on SQLite, then on PostgreSQL
	$(call run_tests,sqlite,not slow)
	$(call run_tests,postgres,not slow and not once)

.PHONY: test-all
test-all: setup setup-browser ## Run every test on both databases, with many more examples
	HYPOTHESIS_PROFILE=nightly $(PYTEST) --db sqlite --timeout 3600
	HYPOTHESIS_PROFILE=nightly $(PYTEST) --db postgres --timeout 3600

.PHONY: check
check: setup ## Run every check that is not a test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	find templates -name '*.html' -print0 | xargs -0 --no-run-if-empty .venv/bin/djade --target-version 6.1 --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@mkdir -p var
	$(if $(wildcard examples/__init__.py),SIGNOFF_DEMO=1 )$(PRODUCTION) $(PYTHON) manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) scripts/vendor.py --check

.PHONY: screenshots
screenshots: setup setup-browser ## Take the pictures of docs/pages.md (ARGS="--only inbox audit")
	$(PYTHON) scripts/screenshots.py $(ARGS)

.PHONY: bench
bench: setup ## Measure throughput and latency (ARGS="--only latency --quick")
	$(PYTHON) -m bench $(ARGS)

.PHONY: bench-peers
bench-peers: setup ## Measure beside DBOS, Absurd and Restate, with the harness in PEERS
	$(PYTHON) -m bench.peers --peers $(or $(PEERS),$(error PEERS is the folder of the harness)) $(ARGS)

.PHONY: lock
lock: ## Bring requirements/ in line with pyproject.toml (UPGRADE=1: newest versions)
	@test -x var/lock/bin/uv || { "$$(scripts/find_python.sh)" -m venv var/lock && var/lock/bin/pip install --quiet uv; }
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; \
	compile="var/lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-emit-find-links$(if $(UPGRADE), --upgrade)"; \
	$$compile --output-file requirements/runtime.txt; \
	$$compile --extra postgres --group test --group browser --group lint \
		--constraints requirements/runtime.txt --output-file requirements/dev.txt; \
	for version in 0.7.4 0.8.1; do \
		echo "resonate-sdk==$$version" | $${compile/pyproject.toml/-} \
			--output-file "requirements/interop-python-$$version.txt"; \
	done

.PHONY: messages
messages: setup ## Bring the catalogues of dashboard/locale in line with the texts
	$(PYTHON) scripts/messages.py

.PHONY: vendor
vendor: setup ## Copy the front-end files of package.json into static/
	npm ci
	$(PYTHON) scripts/vendor.py
