# qgalore_hpc: `make` builds, `make demo` trains, `make check` tests, `make help` lists the rest.
# Nothing here needs editing: variables are set on the command line (make BUILD=/tmp/b PREFIX=/opt/q).

PREFIX   ?= /usr/local
DESTDIR  ?=
BUILD    ?= build
V        ?= 0
SANITIZE ?=
OPENMP   ?= -fopenmp
WERROR   ?= 0

# Ranks may run as root in containers; more ranks than cores is normal for tests.
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1

VERSION := 0.1.0
GIT     := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

CC  ?= cc
CXX ?= c++
PKG_CONFIG ?= pkg-config
MACHINE    := $(shell uname -m)

# --- libraries -----------------------------------------------------------------------------------
OPENBLAS_DIR := $(firstword $(wildcard /usr/lib/$(shell $(CC) -print-multiarch 2>/dev/null)/openblas-openmp))
MPI_CFLAGS   := $(shell mpicc --showme:compile 2>/dev/null || $(PKG_CONFIG) --cflags ompi-c 2>/dev/null)
MPI_LIBS     := $(shell mpicc --showme:link 2>/dev/null || $(PKG_CONFIG) --libs ompi-c 2>/dev/null)
first_pc      = $(firstword $(foreach p,$(1),$(if $(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null && echo y),$(p))))
HDF5_PC      := $(call first_pc,hdf5-openmpi hdf5-mpi hdf5)
SCALAPACK_PC := $(call first_pc,scalapack-openmpi scalapack-mpich scalapack)
pc_cflags     = $(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)
pc_libs       = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
BLAS_CFLAGS  := $(call pc_cflags,openblas)
comma        := ,
BLAS_LIBS    := $(if $(OPENBLAS_DIR),-L$(OPENBLAS_DIR) -Wl$(comma)-rpath$(comma)$(OPENBLAS_DIR) -lopenblas,$(call pc_libs,openblas))

# oneDNN has no pkg-config file; ONEDNN=0 builds with OpenBLAS alone.
ONEDNN ?= $(shell printf '\043include <dnnl.h>\n' | $(CC) -E - >/dev/null 2>&1 && echo 1 || echo 0)
ONEDNN_LIBS := $(if $(filter 1,$(ONEDNN)),-ldnnl)

# --- flags ---------------------------------------------------------------------------------------
# -ffp-contract=off: quantised codes are the same bits on every instruction set and on the GPU.
OPT      ?= -O3 -g
WARNINGS := -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wwrite-strings -Wundef -Wvla
CPPFLAGS += -Iinclude -Isrc -Itests -D_GNU_SOURCE -DQG_VERSION='"$(VERSION)"' -DQG_GIT='"$(GIT)"' -DQG_HAVE_ONEDNN=$(ONEDNN) \
            -isystem /usr/include/lapacke $(patsubst -I%,-isystem %,$(MPI_CFLAGS) $(call pc_cflags,$(HDF5_PC)) $(BLAS_CFLAGS))
CFLAGS   += -std=gnu17 $(OPT) $(OPENMP) -ffp-contract=off -fno-math-errno -fPIC $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror)
CXXFLAGS += -std=c++17 -O2 -g -fPIC -Wall -Wextra
# Plugins report their failures through the program's own functions.
LDFLAGS  += $(OPENMP) -Wl,--export-dynamic-symbol='qg_error_*'
LIBS     := $(call pc_libs,$(HDF5_PC)) $(call pc_libs,$(SCALAPACK_PC)) $(BLAS_LIBS) $(call pc_libs,lapacke) \
            $(ONEDNN_LIBS) -linih -ljansson $(MPI_LIBS) -ldl -lm
# The OpenMP build of OpenBLAS has to come first, or the generic -lblas resolves to another one.
LIBS     := $(BLAS_LIBS) $(LIBS)
ifneq ($(SANITIZE),)
CFLAGS   += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
CXXFLAGS += -fsanitize=$(SANITIZE)
LDFLAGS  += -fsanitize=$(SANITIZE)
endif

# --- CUDA ----------------------------------------------------------------------------------------
# The CUDA backend is a shared object that the program opens at run time; it is built where nvcc, cuBLAS
# and cuSOLVER are found (CUDA=0: not at all). PTX of the newest architecture serves newer devices.
NVCC      ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA_ARCH ?= 80 90
# Its headers and libraries lie beside it, or where conda (targets), NVIDIA's HPC SDK (cuda, math_libs) and distributions have
# them; CUDA_HOME adds a place.
NVCC_HOME  := $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(NVCC) 2>/dev/null)))
CUDA_ROOTS := $(NVCC_HOME) $(wildcard $(NVCC_HOME)/targets/*-linux) \
              $(abspath $(foreach r,cuda math_libs,$(NVCC_HOME)/../$(r) $(NVCC_HOME)/../../$(r)/$(notdir $(NVCC_HOME)))) $(CUDA_HOME) /usr
cuda_file = $(firstword $(wildcard $(foreach r,$(CUDA_ROOTS),$(1:%=$(r)/%))))
cuda_header = $(patsubst %/$(1),%,$(call cuda_file,include/$(1)))
cuda_library = $(patsubst %/,%,$(dir $(call cuda_file,$(foreach d,lib64 lib lib/$(MACHINE)-linux-gnu,$(d)/$(1)))))
CUDA_HEADERS   := cuda_runtime_api.h cublasLt.h cusolverDn.h nvtx3/nvToolsExt.h
CUDA_LIBRARIES := libcusolver.so libcublas.so libcublasLt.so libcudart_static.a
CUDA_MISSING   := $(strip $(if $(NVCC_HOME),,nvcc) $(foreach h,$(CUDA_HEADERS),$(if $(call cuda_header,$(h)),,$(h))) \
                    $(foreach l,$(CUDA_LIBRARIES),$(if $(call cuda_library,$(l)),,$(l))))
CUDA      ?= $(if $(CUDA_MISSING),0,1)
CUDA_INCLUDES  := $(addprefix -isystem ,$(filter-out /usr/include,$(sort $(foreach h,$(CUDA_HEADERS),$(call cuda_header,$(h))))))
CUDA_LIB_DIRS  := $(sort $(foreach l,$(CUDA_LIBRARIES),$(call cuda_library,$(l))))
CUDA_NEWEST := $(lastword $(CUDA_ARCH))
CUDA_GENCODE := $(foreach a,$(filter-out $(CUDA_NEWEST),$(CUDA_ARCH)),-gencode arch=compute_$(a)$(comma)code=sm_$(a)) \
                -gencode arch=compute_$(CUDA_NEWEST)$(comma)code=[sm_$(CUDA_NEWEST)$(comma)compute_$(CUDA_NEWEST)]
# -fmad=false for the same reason as -ffp-contract=off above, -ftz=true because the host counts subnormal numbers as zeros too.
NVCCFLAGS += -std=c++17 -O3 -fmad=false -ftz=true -Xcompiler -fPIC$(comma)-Wall$(comma)-Wextra \
             $(if $(filter 1,$(WERROR)),-Werror all-warnings) $(CUDA_GENCODE)
CUDA_LIBS := $(foreach d,$(CUDA_LIB_DIRS),-L$(d) -Wl$(comma)-rpath$(comma)$(d)) -lcusolver -lcublas -lcublasLt -lcudart_static -lrt -lpthread -ldl -lm

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
else
say = @:
endif

# --- sources -------------------------------------------------------------------------------------
# MODULES limits the library to some folders (for work on one module): make MODULES="base numerics" check-unit
MODULES ?= base numerics backend memory par linalg weights model optim data ckpt config train app
# One source, one object per instruction set; src/backend/cpu chooses at run time.
ISAS    := $(if $(filter x86_64,$(MACHINE)),v2 v3 v4 bf16,generic)
march_generic :=
march_v2      := -march=x86-64-v2
march_v3      := -march=x86-64-v3
march_v4      := -march=x86-64-v4 -mprefer-vector-width=512
march_bf16    := $(march_v4) -mavx512bf16

ISA_SRCS := $(wildcard src/backend/cpu/isa/*.c)
# Products of bf16, for processors that have AVX512-BF16 or AMX: src/backend/cpu/panel.c asks first.
BF16_SRCS   := $(wildcard src/backend/cpu/bf16/*.c)
BF16_CFLAGS := $(march_bf16) -mamx-tile -mamx-bf16
$(BUILD)/obj/src/backend/cpu/bf16/%.o: CFLAGS += $(BF16_CFLAGS)
LIB_SRCS := $(filter-out $(ISA_SRCS) $(if $(filter generic,$(ISAS)),$(BF16_SRCS)),$(sort $(foreach m,$(MODULES),$(shell find src/$(m) -name '*.c' 2>/dev/null))))
LIB_OBJS := $(LIB_SRCS:%.c=$(BUILD)/obj/%.o)
ifneq ($(filter backend,$(MODULES)),)
LIB_OBJS += $(foreach i,$(ISAS),$(ISA_SRCS:%.c=$(BUILD)/obj/%.$(i).o))
endif
LIB      := $(BUILD)/libqgalore.a
TOOLS    := $(patsubst src/tools/%.c,$(BUILD)/%,$(wildcard src/tools/qgalore_*.c))
PROGRAMS := $(if $(wildcard src/main.c),$(BUILD)/qgalore_hpc) $(TOOLS)

TEST_SRCS := $(wildcard tests/unit/test_*.c tests/conformance/test_*.c tests/mpi/test_*.c tests/faults/test_*.c tests/parity/test_*.c)
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_FILES := $(patsubst %,$(BUILD)/obj/tests/fuzz/%.o,file fix_checksums subprocess structure)
FUZZERS   := $(FUZZ_SRCS:%.c=$(BUILD)/%)
TESTS     := $(TEST_SRCS:%.c=$(BUILD)/%) $(FUZZ_SRCS:tests/fuzz/%.c=$(BUILD)/tests/fuzz/test_%)
SUPPORT      := $(BUILD)/libsupport.a
SUPPORT_OBJS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*/*.c))
BENCHES   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))

.PHONY: FORCE libraries all programs tests fuzzers benches demo check check-unit check-faults check-sanitize check-tsan check-cuda fuzz bench bench-peers bench-7b bench-cuda bundle cuda deps install installcheck info format lint clean help
.DELETE_ON_ERROR:
.SECONDARY:

# The objects of the CUDA backend, once for devices and once emulated on the host (tests/support/cudaemu). Both
# hold copies of the modules that they use and export one symbol.
PLUGIN_MODULES := $(wildcard src/numerics/*.c) src/base/integers.c src/base/text.c
PLUGIN_LINK     = -shared -Wl,--version-script=$(filter %.map,$^)
CUDA_PLUGIN    := $(BUILD)/libqgalore_cuda.so
CUDA_OBJS      := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cuda/*.c) $(PLUGIN_MODULES)) \
                  $(patsubst %.cu,$(BUILD)/obj/%.cu.o,$(wildcard cuda/kernels/*.cu))
CUDAEMU_PLUGIN := $(BUILD)/tests/libqgalore_cudaemu.so
CUDAEMU_OBJS   := $(patsubst %.c,$(BUILD)/emu/%.o,$(wildcard cuda/*.c)) $(patsubst %.c,$(BUILD)/obj/%.o,$(PLUGIN_MODULES)) \
                  $(patsubst %.cu,$(BUILD)/emu/%.cu.o,$(wildcard cuda/kernels/*.cu)) \
                  $(patsubst %.cc,$(BUILD)/emu/%.o,$(wildcard tests/support/cudaemu/*.cc))

# The emulation itself, apart from the backend.
EMULATION_TESTS := $(patsubst %.cc,$(BUILD)/%,$(wildcard tests/cuda/test_*.cc))

all: programs $(if $(filter 1,$(CUDA)),$(if $(SANITIZE),,$(CUDA_PLUGIN)))
	$(if $(and $(NVCC_HOME),$(CUDA_MISSING),$(filter file,$(origin CUDA))),@echo "The CUDA backend is left out: nvcc is here but not $(CUDA_MISSING) (CUDA_HOME=FOLDER adds a place to look in).")

programs: $(PROGRAMS)

# Said before a compiler misses a header. Parts of the library (MODULES) do with less, and who gives LIBS knows them.
MISSING := $(if $(filter file,$(origin LIBS)),$(if $(MPI_LIBS),,MPI) $(if $(HDF5_PC),,HDF5) $(if $(BLAS_LIBS),,OpenBLAS) \
             $(if $(SCALAPACK_PC),,ScaLAPACK) $(if $(call pc_libs,inih),,inih) $(if $(call pc_libs,jansson),,jansson))
$(if $(filter app,$(MODULES)),$(LIB_OBJS) $(BUILD)/obj/src/main.o): | libraries
libraries:
	@[ -z "$(strip $(MISSING))" ] || { echo "pkg-config and mpicc do not find: $(strip $(MISSING)). On Debian 'make deps' installs them;" \
	  "elsewhere load modules or set PKG_CONFIG_PATH. 'make info' shows what was found." >&2; exit 4; }
# The fibers of the emulation are written for x86-64.
tests: $(TESTS) $(if $(filter x86_64,$(MACHINE)),$(CUDAEMU_PLUGIN) $(EMULATION_TESTS))
fuzzers: $(FUZZERS)
benches: $(BENCHES)

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# What tells the version is compiled again when that changes.
$(patsubst %.c,$(BUILD)/obj/%.o,$(shell grep -rlE 'QG_GIT|QG_VERSION' src cuda --include='*.c')): $(BUILD)/version
$(BUILD)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(GIT)' | cmp -s - $@ || echo '$(VERSION) $(GIT)' >$@
FORCE:

define isa_rule
$(BUILD)/obj/src/backend/cpu/isa/%.$(1).o: src/backend/cpu/isa/%.c
	$$(call say,CC $(1),$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) $$(CFLAGS) $$(march_$(1)) -DQG_ISA=$(1) -MMD -MP -c $$< -o $$@
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))

$(BUILD)/obj/%.o: %.cc
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/cuda/%.o: cuda/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. $(CPPFLAGS) $(CUDA_INCLUDES) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/cuda/%.cu.o: cuda/%.cu
	$(call say,NVCC,$<)
	@mkdir -p $(@D)
	$(Q)$(NVCC) -I. -Iinclude -Isrc $(NVCCFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(CUDA_PLUGIN): $(CUDA_OBJS) cuda/exports.map
	$(call say,LD,$@)
	$(Q)$(CC) $(PLUGIN_LINK) -o $@ $(CUDA_OBJS) $(CUDA_LIBS) -lstdc++

$(BUILD)/emu/%.o: %.c
	$(call say,CC emu,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -Itests/support/cudaemu -I. $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# nvcc lets a word be read where two bf16 were written.
EMU_CXX = $(CXX) -Itests/support/cudaemu -I. -Iinclude -Isrc $(CXXFLAGS) -ffp-contract=off -fno-strict-aliasing -Wno-unknown-pragmas $(if $(filter 1,$(WERROR)),-Werror)

# Guards between the static arrays of kernels, which have a section of their own.
EMU_CXX += $(if $(findstring address,$(SANITIZE)),-fsanitize-sections=cudaemu_static)

$(BUILD)/emu/%.o: %.cc
	$(call say,CXX emu,$<)
	@mkdir -p $(@D)
	$(Q)$(EMU_CXX) -MMD -MP -c $< -o $@

$(BUILD)/emu/%.cu.o: %.cu
	$(call say,CXX emu,$<)
	@mkdir -p $(@D)
	$(Q)$(EMU_CXX) -MMD -MP -MF $(@:.o=.d) -x c++ -c $< -o $@

$(CUDAEMU_PLUGIN): $(CUDAEMU_OBJS) tests/support/cudaemu/exports.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(PLUGIN_LINK) -o $@ $(CUDAEMU_OBJS) -lpthread -lm

$(EMULATION_TESTS): $(BUILD)/tests/%: $(BUILD)/emu/tests/%.o $(filter %/fibers.o %/runtime.o %/streams.o %/shared.o %/tensor_core.o,$(CUDAEMU_OBJS))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -o $@ $^ -lcmocka

# Programs for a machine with a GPU and compilers, but perhaps no MPI, HDF5, BLAS or cmocka.
ALONE_SRCS := $(wildcard src/base/*.c src/numerics/*.c tests/support/suites/*.c) src/backend/plugin_loader.c tests/cuda/cmocka/cmocka.c \
              $(patsubst %,tests/support/%.c,reference/quant_reference fixtures/device_test)
ALONE      := $(patsubst %,$(BUILD)/tests/cuda/alone/%,devices test_cuda test_cuda_attention test_cuda_device test_subspaces footprint bench_cuda bench_refresh)

$(BUILD)/alone/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -Itests/cuda/cmocka $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(ALONE): $(ALONE_SRCS:%.c=$(BUILD)/alone/%.o)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -ldl -lpthread -lm

$(foreach t,devices test_subspaces footprint bench_cuda bench_refresh,$(eval $(BUILD)/tests/cuda/alone/$(t): $(BUILD)/alone/tests/cuda/device/$(t).o))
$(foreach t,test_cuda test_cuda_attention test_cuda_device,$(eval $(BUILD)/tests/cuda/alone/$(t): $(BUILD)/alone/tests/conformance/$(t).o))
$(BUILD)/tests/cuda/alone/bench_cuda: $(patsubst %,$(BUILD)/alone/tests/cuda/device/%.o,bench_kernels bench_open)

$(LIB): $(LIB_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(SUPPORT): $(SUPPORT_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/qgalore_hpc: $(BUILD)/obj/src/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# The tokeniser is the one program that needs SentencePiece (C++).
$(BUILD)/qgalore_tok: $(patsubst %,$(BUILD)/obj/src/tools/%.o,qgalore_tok spm_shim tok_progress) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $^ $(LIBS) -lsentencepiece

# Reads the records of R's package databases (zlib).
$(BUILD)/qgalore_rdata: $(BUILD)/obj/src/tools/qgalore_rdata.o $(BUILD)/obj/src/tools/r_serialize.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lz

$(BUILD)/qgalore_%: $(BUILD)/obj/src/tools/qgalore_%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# A reader of files, and what feeds it: the kept corpus, or libFuzzer.
$(BUILD)/tests/fuzz/test_fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(FUZZ_FILES) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/fuzzer.o $(FUZZ_FILES) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS) -lgomp

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

-include $(shell find $(BUILD)/obj $(BUILD)/emu $(BUILD)/alone -name '*.d' 2>/dev/null)

# --- running -------------------------------------------------------------------------------------
# More ranks than cores, and ranks that wait without spinning: what a small machine needs.
RUN_ENV := OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
NP      ?= 2

# The whole way from a fresh machine: packages, program, text, training. Starts anew each time; the curve ends it.
demo: deps
	@$(MAKE) --no-print-directory all
	@QGALORE_BIN=$(abspath $(BUILD)) inputs/demo-data.sh demo-data
	@$(RUN_ENV) mpirun --bind-to none -np $(NP) $(BUILD)/qgalore_hpc inputs/demo.in run.restart=scratch run.overwrite=yes

# FILTER: a regular expression for the names of the tests to run.
FILTER ?=
check: PACKAGES += $(BUNDLE_PACKAGES)
check: deps
	@$(MAKE) --no-print-directory all tests $(CUDA_RUNS)
	@tests/run.sh $(BUILD) '$(FILTER)'

check-unit:
	@$(MAKE) --no-print-directory tests
	@tests/run.sh $(BUILD) unit

# The long versions of tests/faults (about half an hour): 100 runs killed at random moments and in every phase of a
# save, 500 damages of a checkpoint in each layout, every pair of numbers of ranks, real time limits of Slurm, which is
# installed for them.
check-faults: PACKAGES += slurm-wlm munge
check-faults: deps
	@$(MAKE) --no-print-directory all tests
	@QGALORE_FAULT_RUNS=500 QG_TEST_TIMEOUT=3600 tests/run.sh $(BUILD) faults/test_damage
	@QGALORE_FAULT_RUNS=100 QGALORE_FULL=1 QG_TEST_TIMEOUT=3600 tests/run.sh $(BUILD) 'faults/[^t]'

# The suite once more under AddressSanitizer and UndefinedBehaviorSanitizer.
check-sanitize: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-sanitize SANITIZE=address,undefined OPT="-O1 -g" all tests
	@ASAN_OPTIONS=detect_leaks=0 tests/run.sh $(BUILD)-sanitize '$(FILTER)'

# What has threads of its own, saves beside training and the watchdog, under ThreadSanitizer. MPI, HDF5 and libgomp were not
# built with it: what they do inside is not looked at, and loops run on one thread here.
TSAN_TESTS := unit/test_watchdog unit/test_stop mpi/test_ckpt
check-tsan: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-tsan SANITIZE=thread OPENMP="-Wno-unknown-pragmas -Wno-unused-parameter -Wno-unused-function -lgomp" \
	  OPT="-O1 -g" CUDA=0 \
	  $(patsubst %,$(BUILD)-tsan/%,qgalore_hpc qgalore_ckpt $(TSAN_TESTS:%=tests/%))
	@TSAN_OPTIONS=ignore_noninstrumented_modules=1 OMP_NUM_THREADS=1 tests/run.sh $(BUILD)-tsan 'unit/|mpi/|cli/ckpt|faults/hang'

# Build the plugin for CUDA_ARCH alone. Needs nvcc and CUDA's libraries, nothing else.
cuda: $(CUDA_PLUGIN)

# On a machine with a GPU: conformance, subspaces, memory against the plan, training beside the CPU backend, checkpoints
# between the two. Without one it says why it was skipped.
CUDA_RUNS := $(if $(filter 1,$(CUDA)),$(CUDA_PLUGIN)) $(ALONE) $(if $(MPI_LIBS),$(if $(HDF5_PC),programs))
CUDA_WITH_CMOCKA := $(if $(MPI_LIBS),$(if $(HDF5_PC),$(if $(wildcard /usr/include/cmocka.h),$(addprefix $(BUILD)/tests/conformance/,test_cuda_subspace test_cuda_warm_block))))
check-cuda:
	@$(MAKE) --no-print-directory $(CUDA_RUNS) $(CUDA_WITH_CMOCKA)
	@tests/cuda/device/check.sh $(BUILD)

# Kernels, refreshes, LLaMA-7B and, where PyTorch finds the GPU too (make bench-peers), its counterparts.
bench-cuda:
	@$(MAKE) --no-print-directory $(CUDA_RUNS)
	@tests/cuda/device/bench.sh $(BUILD) $(HIDDEN)

# What check-cuda and bench-cuda run, with its libraries, for nodes that have a driver and none of ours.
BUNDLE_PACKAGES := patchelf xz-utils
bundle: PACKAGES += $(BUNDLE_PACKAGES)
bundle: deps
	@$(MAKE) --no-print-directory $(CUDA_RUNS) $(CUDA_WITH_CMOCKA)
	@QGALORE_BIN=$(abspath $(BUILD)) inputs/demo-data.sh demo-data || echo "bundle: without the text of the demo"
	@jobs/bundle/make.sh $(BUILD)

# Proportions of LLaMA-7B at this hidden size.
HIDDEN ?= 4096

# Each reader of files gets an equal share. Inputs that widen the coverage stay in $(BUILD)-fuzz/corpus; one that crashes a
# reader is left in $(BUILD)-fuzz/found: add it to tests/fuzz/corpus.
FUZZ_SECONDS ?= 300
FUZZ_MODULES := $(MODULES)
fuzz: PACKAGES += clang libclang-rt-14-dev
fuzz: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-fuzz CC=clang OPENMP="-Wno-unknown-pragmas -Wno-unused-parameter" OPT="-O1 -g" \
	  SANITIZE=address,fuzzer-no-link MODULES="$(FUZZ_MODULES)" fuzzers
	@tests/fuzz/run.sh $(BUILD)-fuzz $(FUZZ_SECONDS)

# BENCH: some of them by name (tests/bench/run.sh).
BENCH ?=
bench: deps
	@$(MAKE) --no-print-directory all benches
	@tests/bench/run.sh $(BUILD) $(BENCH)

# PyTorch and the published optimizers, which the benches run beside ours; they do without as well.
PEER_DEBS := python3 python3-venv python3-dev
PEER_PIPS := torch numpy transformers bitsandbytes galore-torch q-galore-torch
bench-peers:
	@$(MAKE) --no-print-directory deps PACKAGES="$(PEER_DEBS)"
	@[ -x $(BUILD)/peers/bin/python ] || python3 -m venv $(BUILD)/peers
	@$(BUILD)/peers/bin/pip install --quiet $(PEER_PIPS)

# LLaMA-7B on 1 rank and on 2: wants about 20 GB.
bench-7b: deps
	@$(MAKE) --no-print-directory all benches
	@BUILD=$(BUILD) tests/bench/bench_7b.sh

# --- packages ------------------------------------------------------------------------------------
PACKAGES := pkg-config openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libscalapack-openmpi-dev libopenblas-openmp-dev \
            liblapacke-dev libinih-dev libjansson-dev libdnnl-dev zlib1g-dev g++ libsentencepiece-dev sentencepiece \
            libcmocka-dev hdf5-tools procps

deps:
	@missing=; for package in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then \
	  echo "These libraries have to be installed (Debian names):$$missing" >&2; exit 4; fi; \
	if [ "$$(id -u)" = 0 ]; then run=; elif sudo -n true 2>/dev/null; then run=sudo; else \
	  echo "Missing packages; as root: apt-get install --no-install-recommends$$missing" >&2; exit 4; fi; \
	echo "installing$$missing"; \
	$$run apt-get update -qq && \
	$$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

# --- installation --------------------------------------------------------------------------------
INSTALLED_DOC := README.md CONTRIBUTING.md LICENSE CHANGELOG.md CITATION.cff

install: all
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/inputs" "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/jobs" \
	  "$(DESTDIR)$(PREFIX)/share/doc/qgalore_hpc/doc/developer" "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 755 $(PROGRAMS) "$(DESTDIR)$(PREFIX)/bin"
	$(if $(filter 1,$(CUDA)),install -d "$(DESTDIR)$(PREFIX)/lib" && install -m 755 $(CUDA_PLUGIN) "$(DESTDIR)$(PREFIX)/lib")
	install -m 644 $(wildcard inputs/*.in) "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/inputs"
	install -m 755 $(wildcard inputs/*.sh) "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/inputs"
	install -m 755 $(wildcard jobs/*.sh) "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/jobs"
	install -m 644 jobs/apptainer.def "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/jobs"
	install -m 644 $(INSTALLED_DOC) "$(DESTDIR)$(PREFIX)/share/doc/qgalore_hpc"
	install -m 644 $(wildcard doc/*.md) "$(DESTDIR)$(PREFIX)/share/doc/qgalore_hpc/doc"
	install -m 644 $(wildcard doc/developer/*.md) "$(DESTDIR)$(PREFIX)/share/doc/qgalore_hpc/doc/developer"
	$(if $(wildcard doc/man/*.1),install -m 644 $(wildcard doc/man/*.1) "$(DESTDIR)$(PREFIX)/share/man/man1")

# What was installed works by itself: version, input help, and --check of an installed input.
installcheck:
	"$(DESTDIR)$(PREFIX)/bin/qgalore_hpc" --version
	"$(DESTDIR)$(PREFIX)/bin/qgalore_hpc" --help-input=qgalore >/dev/null
	"$(DESTDIR)$(PREFIX)/bin/qgalore_hpc" --check --ranks 8 "$(DESTDIR)$(PREFIX)/share/qgalore_hpc/inputs/llama7b.in"

# --- upkeep --------------------------------------------------------------------------------------
SOURCES_C := $(shell find src include tests -name '*.[ch]' 2>/dev/null) $(shell find cuda tests/support/cudaemu tests/cuda -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cc' 2>/dev/null)

doc/inputs.md: $(BUILD)/qgalore_hpc src/config/schema.c
	$< --help-input=markdown > $@

info:
	@echo "version   $(VERSION) ($(GIT))"
	@echo "compiler  $(CC): $(shell $(CC) --version 2>/dev/null | head -1)"
	@echo "MPI       $(MPI_LIBS)"
	@echo "HDF5      $(HDF5_PC) $(shell $(PKG_CONFIG) --modversion $(HDF5_PC) 2>/dev/null)"
	@echo "BLAS      $(BLAS_LIBS)"
	@echo "oneDNN    $(if $(filter 1,$(ONEDNN)),yes,no: OpenBLAS does every GEMM)"
	@echo "CUDA      $(if $(filter 1,$(CUDA)),$(CUDA_LIB_DIRS) for $(CUDA_ARCH),CPU only$(if $(CUDA_MISSING),: no $(CUDA_MISSING)))"
	@echo "levels    $(ISAS)"
	@echo "programs  $(PROGRAMS)"

format:
	clang-format -i $(SOURCES_C)

# HDF5's macros are not declared to cppcheck; scratch is cut into arrays of several types on purpose; cppcheck 2.10 cannot parse a
# compound literal between ? and :. What shellcheck calls info and style differs between its versions.
CPPCHECK_KNOWN := -DH5E_BEGIN_TRY= -DH5E_END_TRY= --suppress=missingIncludeSystem --suppress=invalidPointerCast \
                  --suppress=internalAstError:src/model/llama/stage.c
lint: PACKAGES += cppcheck shellcheck
lint: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-lint WERROR=1 all tests
	cppcheck --quiet --std=c11 --enable=warning,portability --error-exitcode=1 --inline-suppr $(CPPCHECK_KNOWN) -Iinclude -Isrc src
	shellcheck --severity=warning $(wildcard jobs/*.sh jobs/bundle/launch jobs/bundle/*.sh inputs/*.sh tests/*.sh tests/*/*.sh tests/support/shell/*.sh) .ci/run

clean:
	rm -rf $(BUILD) $(BUILD)-sanitize $(BUILD)-tsan $(BUILD)-lint $(BUILD)-fuzz

help:
	@echo "make            build everything into $(BUILD)/"
	@echo "make demo       train a small LLaMA on real text with $(NP) ranks (NP=4 for more)"
	@echo "make check      run the tests (FILTER=name for some); check-sanitize: under ASan and UBSan; check-tsan: threads"
	@echo "make check-faults  the tests of kills, stops, damage and batch systems at full length"
	@echo "make fuzz       every reader of files against random files for FUZZ_SECONDS=$(FUZZ_SECONDS) in all"
	@echo "make bench      measure (BENCH=step for some); bench-peers installs PyTorch to compare; bench-7b: LLaMA-7B"
	@echo "make cuda       build the CUDA backend (CUDA_ARCH=\"80 90\"; part of make where nvcc is found, CUDA=0: not)"
	@echo "make check-cuda, bench-cuda: tests and measurements on a GPU; skipped where there is none"
	@echo "make bundle     the program with its libraries, for GPU nodes that have none of them"
	@echo "make deps       install the Debian packages that are needed"
	@echo "make install    PREFIX=$(PREFIX) DESTDIR=; then installcheck"
	@echo "make info       what was found; format, lint, clean"
