# GNU make. `make` alone lists the targets. PYTHON names the Python that makes .venv.
PYTHON = python3
VENV = .venv
PY = $(VENV)/bin/python
MANAGE = $(PY) manage.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve test test-gpu sanitize-gpu soak bench bench-gpu story-model lint models lock clean \
    install install-dev browser

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

serve: models ## install, fetch missing models, serve on http://localhost:3000 (PORT=, HOST=)
	@$(MANAGE) migrate --noinput --verbosity 0
	@exec $(MANAGE) serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: install-dev models browser ## run all tests, real models and a real browser among them
	$(PY) -m pytest --numprocesses 3 --no-loadscope-reorder --durations=10

test-gpu: install-dev models ## run the tests that need an NVIDIA GPU; fails where none can be used
	@$(MANAGE) doctor --expect cuda
	$(PY) -m pytest -m gpu tests/gpu

# memcheck sees a read past the end of a tensor only where each has memory of its own, and such
# memory cannot be taken while a graph is captured. Errors of API calls are left to torch, which
# makes some that it expects. racecheck looks at every access to shared memory, hundreds of times
# slower: fp16 stands for all three types, and small shapes for large ones.
KERNELS = small_ops sample attention matvec matmul_transb tiles qkv_rope_append upload
KERNEL_TESTS = $(PY) -m pytest -m gpu $(KERNELS:%=tests/gpu/test_%.py)
NO_RACES = (torch.float16 or 4097 or 1003) and not (of_models or upload or 1048 or 264 or 576 \
    or (test_qkv_rope_append.py and (64 or 128)))
# cuBLAS' own kernels (nvjet...), which the tests compare with, have races, and do not run when they
# are left out of the check.
RACES = grep 'Race reported' var/racecheck.log | grep -v nvjet

sanitize-gpu: install-dev ## run the kernels' tests under NVIDIA's compute-sanitizer
	@command -v compute-sanitizer >/dev/null || { \
	    echo "compute-sanitizer was not found. It is part of the CUDA toolkit: put the toolkit's" \
	        "bin folder on PATH." >&2; exit 1; }
	@$(MANAGE) doctor --expect cuda
	PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 1 \
	    --report-api-errors no $(KERNEL_TESTS) -k 'not (graph or capture or measured)'
	compute-sanitizer --tool racecheck --print-limit 10000 --log-file var/racecheck.log \
	    $(KERNEL_TESTS) -k '$(NO_RACES)'
	@if $(RACES); then echo 'Races: var/racecheck.log has the rest.' >&2; exit 1; fi

soak: install-dev models browser ## run the long counts and write docs/benchmarks/soak.json
	$(PY) -m pytest -p tests.soak_report --soak -m soak

bench: install-dev models ## measure this machine and write JSON into docs/benchmarks/
	@mkdir -p docs/benchmarks
	$(MANAGE) bench latency --output docs/benchmarks

bench-gpu: install-dev models ## measure this machine's NVIDIA GPU, likewise
	@$(MANAGE) doctor --expect cuda
	@mkdir -p docs/benchmarks
	$(MANAGE) bench gpu --output docs/benchmarks

story-model: install-dev ## train the story model from nothing; wants a GPU (.ci/story_model.sh)
	PYTHON=$(PY) sh .ci/story_model.sh

lint: install-dev ## check style, types, migrations and the lock files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(MANAGE) makemigrations --check --dry-run
	$(PY) -m pytest -q tests/test_install.py -k 'lock_ or locks_'

models: install ## fetch the models that are missing
	@$(MANAGE) models pull --default

lock: install-dev ## resolve requirements*.in to their newest versions
	$(PY) .ci/lock.py

clean: ## remove what was installed and built; models and data stay
	rm -rf $(VENV) .venv.lock staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install:
	@$(PYTHON) .ci/install.py requirements.txt

install-dev:
	@$(PYTHON) .ci/install.py requirements-dev.txt

# Where Chromium cannot be had the tests that need it fail and name the command: no skip, and the
# other tests still run.
browser: install-dev
	@sh .ci/chromium.sh $(PY) || true
