PYTHON ?= python3.11
VENV := .venv$(if $(filter-out python3.11,$(PYTHON)),-$(notdir $(PYTHON)),)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Generated code is found again by all workers, by the next run, and by a CI that keeps the folder.
export TORCHINDUCTOR_CACHE_DIR ?= $(CURDIR)/.cache/torchinductor$(patsubst .venv%,%,$(VENV))

.PHONY: run test test-slow verify lint bench clean

run: $(STAMP)
	$(BIN)/ppvae fit digits

# Every test that takes less than 3 s of processor time (tests/conftest.py fails one that takes
# more), and the checks of the code: minutes.
# Both at once: without its cache, mypy takes as long as a tenth of the tests, and one core.
test: $(STAMP)
	@$(MAKE) --no-print-directory --jobs 2 lint fast

.PHONY: fast
fast: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not verify"

# Trainings, intervals that are covered as often as they say, generated code, command lines of the
# README, and the factors that meet two by two: some ten minutes.
test-slow: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal -m "slow and not verify"

# The tests that need a GPU; without one they skip.
.PHONY: test-gpu
test-gpu: $(STAMP)
	$(BIN)/pytest -m gpu

# What takes hours: statistics with many seeds, results of papers, every three factors together,
# all graphs as generated code, runs killed again and again.
# The trainings on MNIST need its four IDX files: make verify PPVAE_MNIST=folder
verify: $(STAMP)
	$(if $(PPVAE_MNIST),PPVAE_MNIST=$(PPVAE_MNIST) )$(BIN)/pytest -m verify -s

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The oldest versions that pyproject.toml allows; Python 3.11, since newer ones need newer packages.
# Old packages raise deprecation warnings among themselves, which are no errors here; some are slow.
.PHONY: test-lowest
test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python .ci/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check \
		-r .venv-lowest/lowest.txt -e ".[test]"
	TEST_SECONDS=9 .venv-lowest/bin/pytest -n 2 -m "not slow and not verify" -W default::DeprecationWarning \
		-W default::PendingDeprecationWarning -W default::FutureWarning

# The wheel runs where there is nothing else: a clean environment, and a folder outside this one.
.PHONY: dist
dist: $(STAMP)
	rm -rf dist build .venv-dist
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	folder=$$(mktemp -d) && cd $$folder && $(CURDIR)/.venv-dist/bin/ppvae fit digits --epochs 1

# Peers are installed apart, so that the library's own environment stays what it is.
bench: $(STAMP)
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r benchmarks/requirements.txt -e .
	.venv-bench/bin/python -m benchmarks

# The site: docs/_build/html/index.html. What executed pages show is kept in .cache/docs, until a
# source of the library or of an example changes.
.PHONY: docs linkcheck
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -j 2 -b html docs docs/_build/html

# Links to other sites; those within the site are checked by `make docs`.
linkcheck: $(VENV)/.installed-docs
	DOCS_EXECUTE=off $(BIN)/python -m sphinx -b linkcheck docs docs/_build/linkcheck

clean:
	rm -rf docs/_build docs/reference/*.rst docs/reference/command_line.md docs/tutorial/step*.md
	rm -rf $(VENV) build *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path "./.venv*" -prune -exec rm -rf {} +

# The stamp is newer than what it was made from: a changed dependency installs again.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

$(VENV)/.installed-docs: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@
