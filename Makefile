# make test       build the wheel, install it into a fresh environment as users do, run all tests
# make test-all   the same with the slow tests, which train every configuration with every kind of labels
# make check      lint, and the tests of the rooms that changed since the last commit, in an environment that is kept;
#                 ROOMS="scores segment" names them
# make demo       run the demonstration in an environment of its own; it writes ./demo
# make lint       check style and types with what `pip install -e .[dev]` brings
# make docs       build the documentation's site into ./site, in an environment that is kept
# make dist       build what is published into ./dist, and check it
# make release    VERSION=0.2.0: versions, changelog, commit and tag, all or nothing
#
# PYTHON       the interpreter that makes the environments (python3)
# PYTEST_ARGS  more words for pytest, such as -x or tests/discovery

PYTHON ?= python3
PYTEST_ARGS ?=
ROOMS ?= $(sort $(shell git diff --name-only HEAD | sed -nE 's,^(nnunetv2_sa_unet|tests)/([a-z]+)/.*,\2,p'))

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# The source tree must not be importable by accident, and no test may meet a folder of the user.
unexport PYTHONPATH nnUNet_raw nnUNet_preprocessed nnUNet_results nnUNet_extTrainer

.PHONY: test test-all check demo lint docs dist release

# The wheel is made from the source distribution, as package indexes and distributions do it. A build folder left from
# before would bring removed modules back into it.
# The tests run on a copy in a folder without the package, the files of one module in one of several processes, each
# of which computes on one core. Caches stay in the environment.
test:
	rm -rf .venv-test build
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install --quiet build
	.venv-test/bin/python -m build --quiet --outdir .venv-test/wheel .
	.venv-test/bin/python -m pip install --quiet "$$(echo .venv-test/wheel/*.whl)[test]"
	mkdir .venv-test/run .venv-test/cache
	cp -R tests pyproject.toml .venv-test/run
	if [ -z "$$SA_UNET_SHARED" ] && [ -d ../shared ]; then SA_UNET_SHARED="$$(cd ../shared && pwd)"; fi; \
	cd .venv-test/run && cache="$$(cd ../cache && pwd)" && \
	SA_UNET_SHARED="$$SA_UNET_SHARED" SA_UNET_SOURCE="$(CURDIR)" SA_UNET_WHEEL="$$(echo "$(CURDIR)"/.venv-test/wheel/*.whl)" \
	MPLCONFIGDIR="$$cache" TORCHINDUCTOR_CACHE_DIR="$$cache" TRITON_CACHE_DIR="$$cache" PYTHONSAFEPATH=1 \
	OMP_NUM_THREADS=1 ../bin/pytest --basetemp=tmp -n logical --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

test-all:
	$(MAKE) test PYTEST_ARGS="-m 'slow or not slow' $(PYTEST_ARGS)"

# An editable install: made once, and again when its requirements change.
.venv-check/ready: setup.cfg
	$(PYTHON) -m venv .venv-check
	.venv-check/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

check: .venv-check/ready
	$(MAKE) lint PYTHON=.venv-check/bin/python
	@if [ -z "$(strip $(ROOMS))" ]; then \
		echo 'no room has changed since the last commit; name some: make check ROOMS="scores segment"'; exit 2; fi
	nnUNet_extTrainer="$(CURDIR)/nnunetv2_sa_unet/discovery/trainers" SA_UNET_SOURCE="$(CURDIR)" PYTHONSAFEPATH=1 \
	.venv-check/bin/pytest -p no:cacheprovider tests/test_rooms.py \
		$(wildcard $(addprefix tests/,$(filter-out integration,$(ROOMS)))) $(PYTEST_ARGS)

demo:
	rm -rf build
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet .
	.venv-demo/bin/nnUNetv2_sa_unet demo

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# The package is not installed: its docstrings are read from the sources, and its parsers import nothing large.
.venv-docs/ready: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement docs/requirements.txt
	touch $@

docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

.venv-dist/ready:
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet build packaging twine
	touch $@

# The wheel from the source distribution is to be, byte for byte, the one from the tree.
dist: .venv-dist/ready
	rm -rf build dist
	export SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" && \
	.venv-dist/bin/python -m build --quiet --outdir dist . && \
	.venv-dist/bin/python -m build --quiet --wheel --outdir build/from-tree .
	cmp dist/*.whl build/from-tree/*.whl
	.venv-dist/bin/python -m twine check --strict dist/*

release: .venv-dist/ready
	@.venv-dist/bin/python tools/release.py "$(VERSION)"
