# atlasctl. `make up` is all that a first visit needs; `make help` lists the rest.
.PHONY: up down neural test mutants lint check help

up:  ## Install what the default system needs, start it, wait until it is healthy
	@scripts/environment.sh tts
	@.venv/bin/atlasctl up

down:  ## Stop every service and the supervisor
	@scripts/environment.sh tts
	@.venv/bin/atlasctl down

neural:  ## Install the neural voice and fetch its model (about 1 GB)
	@scripts/environment.sh tts,neural
	@.venv/bin/atlasctl models fetch
	@if .venv/bin/atlasctl status tts >/dev/null 2>&1; [ $$? -ne 3 ]; then \
		echo "To speak with it: ./atlasctl restart --rolling tts"; \
	else \
		echo "To speak with it: make up"; \
	fi

test:  ## Run the whole test suite
	@scripts/environment.sh tts,neural,dev
	.venv/bin/python -m pytest -n 4 --dist worksteal

mutants:  ## See that the tests of the core notice small wrongs in it (two minutes)
	@scripts/environment.sh tts,neural,dev
	.venv/bin/python -m tests.mutants.core_mutants

lint:  ## Check style, types on both platforms, and import directions
	@scripts/environment.sh tts,neural,dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --platform linux --cache-dir .mypy_cache/linux
	.venv/bin/mypy --platform darwin --cache-dir .mypy_cache/darwin
	.venv/bin/lint-imports

check: lint test  ## Everything that a change must pass

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
