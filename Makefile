# Everything a fresh clone needs is Python >= 3.10 and make: each target sets up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format bench clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/ranking.py
	$(BIN)/python benchmarks/gallery.py
	$(BIN)/python benchmarks/clustering.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/background.py
	$(BIN)/python benchmarks/ball_overhead.py
	$(BIN)/python benchmarks/tracknet.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/mot_evaluation.py
	$(BIN)/python benchmarks/ball_memory.py
	$(BIN)/python benchmarks/ball_modes.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/report.py

# trackeval, an oracle of the tests, asks for the OpenCV with windows, which would overwrite the one without.
# torch is pinned in constraints.txt, so that no other build of it is ever resolved.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps trackeval==1.3.0
	touch $(READY)

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
