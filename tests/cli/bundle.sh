#!/bin/bash
# The bundle for GPU nodes runs wherever it lies, with an empty environment and with no library of ours but its own. Run from the
# repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh

build=$(realpath "${BUILD:-build}")
for tool in patchelf ompi_info objdump xz; do
  command -v "$tool" >/dev/null || skip_all "$tool is not installed"
done
for file in qgalore_hpc qgalore_ckpt tests/cuda/alone/devices; do
  [ -x "$build/$file" ] || skip_all "$build/$file was not built (make bundle)"
done
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# in_bundle COMMAND...: there, with nothing of this environment.
in_bundle() { (cd "$tmp/a place" && exec env -i PATH=/usr/bin:/bin OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive "$@"); }

keys=(inputs/demo.in data.train=random:20000 data.valid= train.validate_every=0 train.global_batch=2 train.micro_batch=1
  train.sequence_length=32 model.vocab_size=256 qgalore.rank=16 optimizer.warmup_steps=1 checkpoint.every=2
  "run.output_dir=$tmp/runs")
train() { run in_bundle ./mpirun --bind-to none -np 2 ./qgalore_hpc "${keys[@]}" "$@"; }

# foreign: of the libraries named on stdin, as comments, those that are neither the bundle's nor glibc's.
foreign() {
  grep -v "^$tmp/a place/" | grep -vE '/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|nss_[a-z]*))\.so' | sed 's/^/# /' | grep .
}

# rank_is_own: whatever a rank loads until it ends, components of MPI among it. The launcher's libraries are read with ldd.
rank_is_own() {
  in_bundle ./mpirun --bind-to none -np 1 -x LD_DEBUG=libs ./bin/qgalore_hpc "${keys[@]}" run.name=loads train.steps=2 2>&1 |
    sed -n 's/.*calling init: //p' | sort -u >"$tmp/loaded"
  grep -q "a place/lib/openmpi/mca_" "$tmp/loaded" && ! foreign <"$tmp/loaded"
}
launcher_is_own() {
  in_bundle ldd "$tmp/a place/bin/orterun" | sed -n 's/.* => \(.*\) (0x.*/\1/p' >"$tmp/linked"
  grep -q "a place/bin/../lib/libopen-rte" "$tmp/linked" && ! foreign <"$tmp/linked"
}

run env XZ_OPT=-0 jobs/bundle/make.sh "$build" "$tmp"
expect "it is made" 0 "qgalore_hpc-bundle.tar.xz"
rm -rf "$tmp/bundle"
tar -C "$tmp" -xf "$tmp/qgalore_hpc-bundle.tar.xz"
mv "$tmp/bundle" "$tmp/a place"

run in_bundle ./qgalore_hpc --version
expect "it starts in a folder with a space in its name" 0 "qgalore_hpc"
check "a rank loads no library of ours but the bundle's" rank_is_own
check "nor does the launcher" launcher_is_own
train train.steps=2
expect "two ranks train" 0 "all 2 steps done"
expect "the command for more is one of the bundle" 0 "mpirun -np 2 ./qgalore_hpc inputs/demo.in"
train train.steps=4
expect "and go on from their checkpoint" 0 "all 4 steps done"
run in_bundle ./qgalore_ckpt verify "$tmp"/runs/demo/checkpoints/step-0000000004.h5
expect "which is whole" 0 "complete and undamaged"

plugin=$build/tests/libqgalore_cudaemu.so
if [ -f "$plugin" ]; then
  run in_bundle QGALORE_CUDA_PLUGIN="$plugin" ./qgalore_hpc --list-backends
  expect "a backend finds the program and its libraries" 0 "device 0: Emulated device"
else
  skip "a backend finds the program and its libraries" "$plugin was not built"
fi
for command in check-cuda bench-cuda; do
  run in_bundle QGALORE_CUDA_PLUGIN="$tmp/none.so" ./$command
  expect "$command without the CUDA backend is skipped" 0 "skipped: "
done
mkdir "$tmp/tools"
for tool in bash readlink dirname sort head grep sed find diff; do ln -s "$(command -v "$tool")" "$tmp/tools/"; done
run in_bundle PATH="$tmp/tools" ./check-cuda
expect "a tool that is missing is named" 4 "check-cuda: awk is missing here"
sed -i "s/ .*/ 99.0/" "$tmp/a place/etc/glibc"
run in_bundle ./qgalore_hpc --version
expect "an older glibc is refused by name" 4 "this bundle needs glibc 99.0, here is 2."
finish
