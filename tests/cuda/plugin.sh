#!/bin/bash
# Whatever keeps the CUDA backend from working is told in words, and with backend.name = auto the CPU takes over. Run
# from the repository root; BUILD names the build folder; prints TAP. The plugin is the emulated one.
# shellcheck disable=SC2154,SC2034 # tmp comes from tiny_run.sh, code goes to tap.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

plugin=$PWD/${BUILD:-build}/tests/libqgalore_cudaemu.so
[ -f "$plugin" ] || skip_all "$plugin was not built"
unset CUDA_VISIBLE_DEVICES

# list [NAME=VALUE...]: --list-backends in that environment.
list() { run env "$@" "$program" --list-backends; }

# alone FILE...: a copy of the program in a folder of its own, with these files beside it.
alone() {
  rm -rf "$tmp/alone"
  mkdir -p "$tmp/alone/bin" "$tmp/alone/lib"
  cp "$program" "$tmp/alone/bin/"
}

list QGALORE_CUDA_PLUGIN="$plugin"
expect "a device is listed with its address" 0 "device 0: Emulated device, 0000:00:00.0, compute capability 9.0"
list QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="no driver"
expect "no driver" 0 "cuda  not available: no NVIDIA driver is installed here"
list QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="old driver"
expect "an old driver" 0 "the NVIDIA driver is too old: it is of CUDA 11.4, this build needs"
list QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="no device" CUDA_VISIBLE_DEVICES=none
expect "no device" 0 "no NVIDIA device is visible, CUDA_VISIBLE_DEVICES=none"
list QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="old device"
expect "an old device" 0 "device 0, Emulated device, has compute capability 7.0, and the kernels need 8.0"
for fault in "other device" "another device"; do
  list QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="$fault"
  expect "a device without code" 0 "this build has no code for device 0, Emulated device of compute capability 9.0"
done
list QGALORE_CUDA_PLUGIN="$tmp/none.so"
expect "a plugin that is not there" 0 "QGALORE_CUDA_PLUGIN=$tmp/none.so cannot be read"
echo text >"$tmp/text.so"
list QGALORE_CUDA_PLUGIN="$tmp/text.so"
expect "a file that is no library" 0 "$tmp/text.so does not load"
echo 'int nothing;' >"$tmp/other.c"
cc -shared -fPIC -o "$tmp/other.so" "$tmp/other.c"
list QGALORE_CUDA_PLUGIN="$tmp/other.so"
expect "a library that is no backend" 0 "$tmp/other.so is no backend of this program"
# plugin_of VERSION: one of other sources.
plugin_of() {
  cat >"$tmp/old.c" <<SOURCE
const struct { const char *version; unsigned long sizes[2]; void *calls[2]; } qg_plugin_of_backend = {"$1"};
SOURCE
  cc -shared -fPIC -o "$tmp/old.so" "$tmp/old.c"
}
plugin_of 0.0.1
list QGALORE_CUDA_PLUGIN="$tmp/old.so"
expect "a plugin of another version" 0 "old.so was built with another version (0.0.1) than this program"
plugin_of "$("$program" --version | sed -n '1s/^qgalore_hpc \([^ ]*\).*/\1/p')"
list QGALORE_CUDA_PLUGIN="$tmp/old.so"
expect "a plugin of this version and other sources" 0 "old.so was built from other sources than this program"

alone
run "$tmp/alone/bin/qgalore_hpc" --list-backends
expect "a program without a plugin" 0 "libqgalore_cuda.so was not built or installed"
# A plugin beside the program or in ../lib is found: what keeps it from opening is said of that file, or of the driver.
for place in bin lib; do
  alone
  cp "$tmp/text.so" "$tmp/alone/$place/libqgalore_cuda.so"
  run "$tmp/alone/bin/qgalore_hpc" --list-backends
  if [[ $output == *"no NVIDIA driver is installed here (libcuda.so.1)"* ]]; then
    ok "a plugin in $place waits for a driver"
  else
    expect "a plugin in $place is found" 0 "libqgalore_cuda.so does not load"
  fi
done

export QGALORE_CUDA_PLUGIN=$plugin
short=(train.steps=2 checkpoint.every=0)

# A login node plans for the device that it does not have.
run env QGALORE_CUDA_PLUGIN="$plugin" CUDAEMU_FAULT="no driver" "$program" --check --ranks 2 "$tmp/tiny.in" backend.name=cuda
expect "--check plans device memory without a device" 0 "on the fullest rank; 768 MiB of it is an allowance for CUDA"
expect "and without a time" 0 "time      unknown: the device is not here"
planned=$output
run env QGALORE_CUDA_PLUGIN="$plugin" "$program" --check --ranks 2 "$tmp/tiny.in" backend.name=cuda
# The solver's scratch is an estimate there; whole MiB agree for a model this small.
plan_of() { sed -n 's/^device *\([0-9.]* .iB\) on the fullest.*/\1/p' <<<"$1"; }
check "as with one" test -n "$(plan_of "$output")" -a "$(plan_of "$planned")" = "$(plan_of "$output")"

# The plan of LLaMA-7B on a device of 16 GB: at most 13.7 GB, CUDA's allowance included, with 16 x 256 tokens.
bytes_of() { awk '{ printf "%.0f", $1 * ($2 == "GiB" ? 1024 : 1) * 1048576 }' <<<"$(plan_of "$1")"; }
seven=(inputs/llama7b.in backend.name=cuda train.global_batch=16 train.micro_batch=16)
run env CUDAEMU_FAULT="no driver" "$program" --check "${seven[@]}" train.activation_offload=yes
check "LLaMA-7B with offload is planned in 13.7 GB" test "$(bytes_of "$output")" -gt 12000000000 -a "$(bytes_of "$output")" -le 13700000000
run env CUDAEMU_FAULT="no driver" "$program" --check "${seven[@]}"
check "and without in 14.5 GB" test "$(bytes_of "$output")" -gt 13700000000 -a "$(bytes_of "$output")" -le 14500000000

# start_of NAME RANKS [KEY=VALUE...]: a short run; its log in $output.
start_of() {
  train "$2" "$1" "${short[@]}" "${@:3}"
  code=$?
  output=$(<"$tmp/$1.log")
}

CUDAEMU_FAULT="other device" start_of fallback 1 backend.name=auto
expect "auto takes the CPU and says why" 0 "; not cuda: this build has no code for device 0"
CUDAEMU_FAULT="no device" start_of refused 1 backend.name=cuda
expect "cuda without a device is refused" 4 "backend.name = cuda, but no NVIDIA device is visible"
start_of chosen 1 backend.name=auto
expect "auto takes the device" 0 "cuda (Emulated device, 0000:00:00.0, driver 13.0, bf16 GEMM in cuBLASLt 13.1.0)"
CUDAEMU_FAULT="new device" start_of newer 1 backend.name=cuda
expect "the log tells that a first start will be slow" 0 "bf16 GEMM in cuBLASLt 13.1.0, kernels compiled from PTX)"
start_of crowd 2 backend.name=cuda
expect "two ranks on one device are refused" 4 "would share the GPU at 0000:00:00.0 UUID 00000000"
start_of shared 2 backend.name=cuda parallel.share_gpu=yes
expect "unless the user wants it" 0 "finished"
CUDAEMU_MEMORY=$((200 << 20)) start_of full 1 backend.name=cuda
expect "a plan that does not fit is refused at the start, with its largest owners" 4 "does not fit on cuda (Emulated device"
expect "and with what is free" 4 "of 200 MiB are free, and 192 MiB have to stay so. Largest: workspace 32."
# One allocation after the other is refused, until the run gets through: the last one was the plan's.
for number in {8..40}; do
  before=${output:-}
  CUDAEMU_FAIL_MALLOC=$number start_of "malloc$number" 1 backend.name=cuda
  [ "$code" -ne 0 ] || break
done
expect "a run takes no device memory" 0 "all 2 steps done"
output=$before code=4
expect "after that of its plan" 4 "does not fit on cuda (Emulated device"
# One of the first forward pass.
CUDAEMU_FAIL_LAUNCH=250 start_of failing 1 backend.name=cuda
expect "a failed call names itself, its place, the device and the tensor" 1 \
  "failed on device 0 (Emulated device), tensor model.layers."
CUDAEMU_DEVICES=2 start_of apart 2 backend.name=cuda
expect "two ranks take two devices" 0 "cuda (Emulated device, 0000:01:00.0"
# Each rank sees an instance of the GPU as its only device.
cat >"$tmp/instance.sh" <<SCRIPT
#!/bin/sh
CUDAEMU_INSTANCE=\$OMPI_COMM_WORLD_LOCAL_RANK exec "$program" "\$@"
SCRIPT
chmod +x "$tmp/instance.sh"
program=$tmp/instance.sh start_of instances 2 backend.name=cuda
expect "two ranks take two instances of one GPU" 0 "all 2 steps done"
finish
