# maskline: every target sets up what it needs in .venv; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python on this machine that the packages support (3.11 or 3.12); override with `make PYTHON=...`.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out/demo

.PHONY: help env plugins pycuda wheels wheels-of demo test test-long test-compilers test-settings test-wheel test-onnxruntime test-pycuda test-machines test-gpu test-tensorrt test-tensorrt-headers test-sanitizers fuzz fuzzers faults faults-page soak lint type pytest format bench-timeline bench-train bench-data bench-serve bench-steps bench-ops bench-engines bench-device owed ran-where compare compare-page clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

env: $(READY) ## create .venv with everything that runs without a GPU (about 5 GB)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time downloads about 3 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $@

PLUGINS := build/plugins
SITE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The compiler that .venv brings; another: make plugins NVCC=/usr/local/cuda/bin/nvcc
NVCC = $(SITE)/nvidia/cu13/bin/nvcc
CUDA_LIB = $(abspath $(dir $(NVCC))/../lib)
# Where the package nvidia-cuda-sanitizer-api puts compute-sanitizer.
BESIDE_NVCC = $(abspath $(dir $(NVCC)))
# The public headers that a package on PyPI ships; an installation's: make plugins TENSORRT_INCLUDE=/usr/include/x86_64-linux-gnu
TENSORRT_INCLUDE = $(SITE)/kernel_lens/include/tensorrt
# The system's headers or downloaded ones; an installation's: make plugins ONNXRUNTIME_INCLUDE=/opt/onnxruntime/include
ONNXRUNTIME_INCLUDE = $(shell plugins/ort/headers.sh build/onnxruntime)
# Compute capabilities to build machine code for: all, or what the tests can run, the GPU at hand's or any one. One takes
# a fraction of the time; SM=90 asks for it.
EVERY_SM := 75;80;86;89;90;100;120
GPU_SM = $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -un | paste -sd';')
SM ?= $(if $(filter test pytest test-% owed compare,$(MAKECMDGOALS)),$(or $(GPU_SM),90),$(EVERY_SM))
# ON: a warning of the C++ compiler is an error, as in CI. A compiler that nobody here has seen may warn of anything.
WERROR ?= OFF
# ON: everything under AddressSanitizer and UndefinedBehaviorSanitizer, in a folder of its own; test-sanitizers does.
SANITIZE := OFF

# CUDA_CUDART: the packages bring no libcudart.so without a version, which CMake looks for and nothing links.
plugins: $(READY) ## build the TensorRT plugins and the host library into build/plugins
	@LIBRARY_PATH=$(CUDA_LIB) $(BIN)/cmake -S plugins -B $(PLUGINS) -G Ninja --log-level=WARNING \
		-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_CUDA_COMPILER=$(NVCC) \
		$(addprefix -DCUDA_CUDART=,$(firstword $(wildcard $(CUDA_LIB)/libcudart.so.*))) \
		"-DMASKLINE_SM=$(SM)" -DMASKLINE_WERROR=$(WERROR) -DMASKLINE_SANITIZE=$(SANITIZE) -DMASKLINE_TENSORRT_INCLUDE=$(TENSORRT_INCLUDE) \
		-DMASKLINE_ONNXRUNTIME_INCLUDE=$(ONNXRUNTIME_INCLUDE)
	@LIBRARY_PATH=$(CUDA_LIB) $(BIN)/cmake --build $(PLUGINS) $(addprefix --target ,$(PARTS))

PYCUDA = plugins/testing/driver/pycuda.sh $(CURDIR)/$(BIN)/python $(NVCC) $(PLUGINS)/play_driver/libcuda.so.1
pycuda: plugins ## compile pycuda into .venv, for running engines (two minutes of a core)
	@$(PYCUDA)

# Nothing in them may ask for a younger glibc: auditwheel refuses the wheel then. docs/release.md says why this one.
PLATFORM := manylinux_2_34_x86_64
# A folder of their own: machine code for every card takes minutes, and the tests' build has that for one.
wheels: $(READY) ## the wheels of a release, into dist: one with our libraries for Linux, a pure one for the rest
	@[ -n "$(ONNXRUNTIME_INCLUDE)" ] || { echo "wheels: expected ONNX Runtime's headers (plugins/ort/headers.sh says how)" >&2; exit 1; }
	@$(MAKE) --no-print-directory plugins PLUGINS=build/release "SM=$(EVERY_SM)" \
		"PARTS=maskline_host maskline_ort triton_onnxruntime maskline_trt maskline_triton"
	@$(MAKE) --no-print-directory wheels-of PLUGINS=build/release DIST=dist

# The wheels with the libraries of any build: what CI installs has those of the tests. The time of the commit goes in, so
# that the same libraries make the same wheel.
DIST ?= dist
wheels-of: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)
wheels-of: $(READY)
	@rm -rf $(DIST) build/wheel
	@MASKLINE_WHEEL_LIBRARIES=$(PLUGINS) $(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/build/wheel
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --plat $(PLATFORM) --only-plat --strip \
		--exclude 'libnvinfer.so.*' --wheel-dir $(DIST) build/wheel/*.whl
	@env -u MASKLINE_WHEEL_LIBRARIES $(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/$(DIST)

demo: $(READY) ## train, export, serve and evaluate on this machine; writes out/demo/report.html
	@$(BIN)/python demo/run_demo.py --out $(OUT)

# The tests take both cores; what comes before them does not, by itself.
test: $(READY) ## lint, types and tests: what a commit has to pass
	@$(MAKE) --no-print-directory --jobs=2 lint type plugins "SM=$(SM)"
	@$(MAKE) --no-print-directory pytest "SM=$(SM)"

CXX_FILES = $(shell find plugins -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

lint: $(READY) ## ruff: rules and format; clang-format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

# Triton loads each model's folder `1` as a package, which is no name of one: mypy sees them under the models' names,
# with the binding that `assemble` puts there. A backend's folder is on Triton's path: its files are modules.
SERVED := build/served
MODELS := $(patsubst triton_repo/models/%/1/model.py,%,$(wildcard triton_repo/models/*/1/model.py))
type: $(READY) ## mypy, strict
	@$(BIN)/mypy
	@rm -rf $(SERVED)
	@for model in $(MODELS); do mkdir -p $(SERVED)/$$model && \
		ln -s $(CURDIR)/triton_repo/models/$$model/1/*.py $(CURDIR)/plugins/maskline_host $(SERVED)/$$model; done
	@ln -s $(CURDIR)/triton_repo/models/preprocess/1/decoder $(SERVED)/preprocess
	@MYPYPATH=$(SERVED) $(BIN)/mypy --explicit-package-bases $(SERVED)
	@for backend in triton_repo/backends/*/; do $(BIN)/mypy $$backend || exit 1; done

# One thread a worker: two on the tiny models of the tests spin more than they compute; with THREADS=2 they sleep instead.
# A worker more than two cores have work for: one of them often waits for a server. The order is that of
# tests/conftest.py, the slow files first; xdist's own has them last, where all but one worker wait.
THREADS ?= 1
WORKERS ?= 3
PYTEST = OMP_NUM_THREADS=$(THREADS) OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

pytest: plugins ## the tests, the real Triton server included
	@$(PYTEST) --durations=15 -m 'not long'
	@echo "left out: the tests marked long, variations of what was tested above; make test-long runs them"

# A training ends elsewhere with other kernels and another number of threads; docs/machines.md measures how far off.
test-settings: THREADS = 2
test-settings: $(READY) ## the tests that train, as a processor without AVX-512 and two threads compute them
	@ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m 'learns and not long' tests/unit/train

test-machines: plugins ## all tests under 18 settings, those that train from 3 seeds; writes docs/machines.md (hours; resumes)
	@PYTHONPATH=tests $(BIN)/python -m machines.run $(MACHINES)

test-long: plugins test-settings ## what `make test` leaves out: more variants, longer trainings, another processor's kernels
	@$(PYTEST) --durations=15 -m long

# The oldest that has the interface of plugins/ort/api.h, the floor of pyproject.toml, and the newest there was;
# constraints.txt has the one that everything else is tested with.
ONNXRUNTIMES ?= 1.18.1 1.28.0 1.32.0
test-onnxruntime: plugins ## our custom ops in the oldest and the newest ONNX Runtime that they are for
	@for version in $(ONNXRUNTIMES); do place=$(CURDIR)/build/onnxruntime-$$version; \
		[ -d $$place ] || $(BIN)/pip install -q --no-deps --target $$place onnxruntime==$$version || exit 1; \
		PYTHONPATH=$$place $(BIN)/python -c "import onnxruntime as o; print('onnxruntime', o.__version__); assert o.__version__ == '$$version'" && \
		PYTHONPATH=$$place $(BIN)/python -m pytest -q -p no:cacheprovider -m 'not gpu' tests/plugins/test_custom_ops.py || exit 1; \
	done

# The package and what it needs lie in a folder of their own, so that `make test` goes on testing what is said without it.
test-pycuda: plugins ## pycuda's own binding under our code, over a driver that plays a GPU where there is none
	@[ -d build/pycuda ] || $(PYCUDA) --target $(CURDIR)/build/pycuda || { rm -rf build/pycuda; exit 1; }
	@PYTHONPATH=build/pycuda OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -p no:cacheprovider \
		tests/unit/export/engine/test_device_memory.py tests/unit/bench/test_by_pycuda.py

# With the libraries that `make test` has built.
test-wheel: plugins ## install our wheel where no compiler and no checkout is, serve with it, call it, ask doctor
	@$(MAKE) --no-print-directory wheels-of "PLUGINS=$(PLUGINS)" DIST=build/wheels >build/wheels.log 2>&1 || \
		{ cat build/wheels.log; exit 1; }
	@PYTHONPATH=tests $(BIN)/python -m journey.wheel build/wheels

# The compilers to try besides the machine's own, and the options of clang where its own C++ library is installed.
OTHER_CXX ?= g++-13 g++-14 clang++-16 clang++-17 clang++-18 clang++-19
FOUND_CXX = $(foreach cxx,$(OTHER_CXX),$(if $(shell command -v $(cxx)),$(cxx)))
HAS_LIBCXX = echo '\#include <vector>' | $(1) -stdlib=libc++ -Werror -x c++ -fsyntax-only - 2>/dev/null
CXX_OPTIONS = $(if $(filter clang%,$(1)),$(shell $(call HAS_LIBCXX,$(1)) && echo -stdlib=libc++))

test-compilers: $(addprefix with-,$(FOUND_CXX)) ## the plugins built by each further compiler that is found, and their tests
	@echo "built and tested with: $(or $(FOUND_CXX),no further compiler); not found: $(or $(filter-out $(FOUND_CXX),$(OTHER_CXX)),none)"

with-%: $(READY)
	@echo "== $* $(call CXX_OPTIONS,$*)"
	@$(MAKE) --no-print-directory plugins "SM=$(SM)" PLUGINS=build/with/$* CXX=$* CXXFLAGS=$(call CXX_OPTIONS,$*)
	@MASKLINE_PLUGINS_BUILD=$(CURDIR)/build/with/$* MASKLINE_HOST_LIBRARY=$(CURDIR)/build/with/$*/libmaskline_host.so \
		$(PYTEST) -q -m 'not long' tests/plugins

# Python itself is not built with the sanitizers: their runtime has to be there before it, and the C++ runtime whose
# exceptions it looks for. Leaks are those of Python, which keeps what it has until it ends; stacks are switched by the
# emulator's fibers, which the check of returned stacks takes for errors. clang's suppressions: none are needed. What a
# library shows and how much memory it takes is looked at in the builds that ship: the sanitizers add symbols of their
# own, and keep what was freed. What they find goes past pytest, which would keep it to itself when the process ends.
SANITIZED := build/sanitized
RUNTIMES = $(foreach name,libasan.so libubsan.so libstdc++.so,$(shell g++ -print-file-name=$(name)))
test-sanitizers: $(READY) ## the op tests with everything of ours in C++ under AddressSanitizer and UBSan (g++)
	@$(MAKE) --no-print-directory plugins "SM=$(SM)" PLUGINS=$(SANITIZED) SANITIZE=ON CXX=g++
	@LD_PRELOAD="$(RUNTIMES)" ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
		UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 MASKLINE_PLUGINS_BUILD=$(CURDIR)/$(SANITIZED) \
		MASKLINE_HOST_LIBRARY=$(CURDIR)/$(SANITIZED)/libmaskline_host.so OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -q -p no:cacheprovider --capture=sys -m 'not long and not gpu' \
		--ignore=tests/plugins/test_symbols.py \
		--deselect=tests/plugins/ops/test_mask_rle.py::test_memory_does_not_grow_with_the_pixels tests/plugins

# make fuzz TARGET="files masks.decode" SECONDS=60 SEED=3; RUNS=1000 in place of SECONDS; INPUT=FILE repeats one input.
fuzz: fuzzers ## fuzz what reads files, requests and answers: a table, into out/fuzz; docs/fuzzing.md
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run $(TARGET) $(addprefix --seconds ,$(SECONDS)) \
		$(addprefix --runs ,$(RUNS)) $(addprefix --seed ,$(SEED)) $(addprefix --repeat ,$(INPUT))

FUZZ_CXX ?= clang++-19
fuzzers: $(READY) ## build the fuzzers of our C++ into build/fuzz, where clang with its runtimes is
	@if ! command -v $(FUZZ_CXX) >/dev/null; then \
		echo "fuzzers: no $(FUZZ_CXX), so the native targets are left out; FUZZ_CXX names another clang++"; \
	else $(BIN)/cmake -S plugins -B build/fuzz -G Ninja --log-level=WARNING -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
		-DCMAKE_CXX_COMPILER=$(FUZZ_CXX) -DMASKLINE_CUDA=OFF -DMASKLINE_SANITIZE=ON -DMASKLINE_FUZZ=ON \
		-DMASKLINE_TENSORRT_INCLUDE=$(TENSORRT_INCLUDE) -DMASKLINE_CUDA_INCLUDE=$(abspath $(dir $(NVCC))/../include) \
		-DMASKLINE_ONNXRUNTIME_INCLUDE=$(ONNXRUNTIME_INCLUDE) && \
		$(BIN)/cmake --build build/fuzz --target maskline_fuzzers; fi

# ONLY=KIND makes one of them; the results go into docs/benchmarks/faults and docs/faults.md.
faults: plugins ## the fault campaign: real servers killed, hung, starved, flooded; some 20 minutes
	@PYTHONPATH=tests $(BIN)/python -m faults.run $(addprefix --only ,$(ONLY))

faults-page: $(READY) ## write docs/faults.md, of docs/benchmarks/faults
	@PYTHONPATH=tests $(BIN)/python -m faults.run --page

MINUTES ?= 30
soak: plugins ## clients that come and go, bad images, updates: every answer checked, memory sampled
	@PYTHONPATH=tests $(BIN)/python -m faults.soak --minutes $(MINUTES)

format: $(READY) ## let ruff and clang-format rewrite what they can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CXX_FILES)

# ONLY=ITEM runs one, ARGS=--again what a GPU has run before too; the results go into docs/benchmarks.
owed: plugins ## what a GPU has to show and has not: prints it, and runs it where there is a GPU
	@PATH="$(CURDIR)/$(BIN):$$PATH:$(BESIDE_NVCC)" $(BIN)/python -m maskline_bench.owed $(addprefix --only ,$(ONLY)) $(ARGS)

ran-where: $(READY) ## write docs/ran_where.md: what was run where, of the results in docs/benchmarks
	@$(BIN)/python -m maskline_bench.owed --page

# JSON=docs/benchmarks/compare_cpu_2core.json keeps the figures; `make compare-page` then writes docs/compare.md.
DEVICE ?= cpu
compare: plugins ## JPEG in, RLE out by ours and the peers; DEVICE=cpu or cuda
	@$(BIN)/python -m maskline_bench.compare --device $(DEVICE) $(ARGS) --json $(or $(JSON),out/compare_$(DEVICE).json)

compare-page: $(READY) ## write docs/compare.md and its plots, of docs/benchmarks/compare_*.json
	@$(BIN)/python -m maskline_bench.compare.page

bench-timeline: $(READY) ## the parts of a training step, and with ARGS="--svg out/step.svg" a picture of them
	@OMP_NUM_THREADS=1 $(BIN)/python -m maskline_bench.step_timeline $(ARGS)

bench-train: $(READY) ## a training step of ResNet-50-FPN, ours and torchvision's in turn
	@$(BIN)/python -m maskline_bench.train_step $(ARGS)

bench-data: $(READY) ## training items of one core, JPEG and polygons in: ours and torchvision's reference in turn
	@OMP_NUM_THREADS=1 $(BIN)/python -m maskline_bench.train_data $(ARGS) $(if $(JSON),--json $(JSON))

bench-serve: $(READY) ## JPEG in, RLE out: ours through Triton and torchvision eager in turn
	@$(BIN)/python -m maskline_bench.serving

bench-steps: plugins ## what serving adds to the computing of its steps, at 800x1344 and at 256x256
	@$(BIN)/python -m maskline_bench.steps $(ARGS) $(if $(JSON),--json $(JSON))

bench-ops: plugins ## the ops on the CPU: RoIAlign, proposals, masks to RLE; ours and the peers' in turn
	@$(BIN)/python -m maskline_bench.host_ops $(if $(JSON),--json $(JSON))

# On a GPU an environment with onnxruntime-gpu: make bench-engines ARGS="--device cuda --precision fp16 --batch 1 --batch 8"
bench-engines: plugins ## the three engines in one process: by bodies, by our op library, torchvision
	@$(BIN)/python -m maskline_bench.engines $(ARGS) $(if $(JSON),--json $(JSON))

bench-device: plugins ## the ops on a GPU, ours and torchvision's in turn
	@$(BIN)/python -m maskline_bench.device_ops --build $(PLUGINS) $(if $(JSON),--json $(JSON))

# Tests with NVIDIA's own registry and parser are left out: these are of one version, TensorRT for RTX's.
HEADERS_BUILD := build/tensorrt_headers
test-tensorrt-headers: $(READY) ## plugins and harness against TensorRT headers of yours: TENSORRT_INCLUDE="FOLDER ..."
	@for folder in $(abspath $(TENSORRT_INCLUDE)); do echo "== headers of $$folder"; rm -rf $(HEADERS_BUILD)/play; \
		$(MAKE) --no-print-directory plugins "SM=$(SM)" PLUGINS=$(HEADERS_BUILD) TENSORRT_INCLUDE=$$folder \
			"PARTS=maskline_trt maskline_trt_simt maskline_faulty_simt maskline_triton maskline_harness" && \
		MASKLINE_PLUGINS_BUILD=$(CURDIR)/$(HEADERS_BUILD) $(BIN)/python -m pytest -q -p no:cacheprovider \
			tests/plugins/framework -k 'not nvidias and not own_logger' || exit 1; \
	done

# Another model: make test-tensorrt FULL=1 (ResNet-50-FPN, random weights), or maskline-export verify-engines ARTIFACT
test-tensorrt: plugins ## on a machine with TensorRT: build the engines and compare each stage with ONNX Runtime
	@PYTHONPATH=tests $(BIN)/python -m support.export.dense_artifact out/tensorrt $(if $(FULL),--full)
	@$(BIN)/maskline-export verify-engines out/tensorrt

test-gpu: $(READY) ## everything of the plugins that needs a GPU: tests, harness, sanitizer, benchmark; into out/gpu
	@PATH="$$PATH:$(BESIDE_NVCC)" PYTHON=$(BIN)/python TENSORRT_INCLUDE=$(TENSORRT_INCLUDE) ONNXRUNTIME_INCLUDE=$(ONNXRUNTIME_INCLUDE) plugins/check_gpu.sh out/gpu

clean: ## remove what the targets made, the environment excepted
	@rm -rf out build dist .mypy_cache .pytest_cache .ruff_cache
