#!/bin/bash
# Puts what a GPU node without our libraries needs into one folder: jobs/bundle/make.sh BUILD [FOLDER] (make bundle). Writes
# FOLDER/bundle and FOLDER/qgalore_hpc-bundle.tar.xz; FOLDER is BUILD by default. The C library, the driver and NVIDIA's
# libraries are the target's.
set -eu
BUILD=$(realpath "${1:?usage: jobs/bundle/make.sh BUILD [FOLDER]}")
folder=$(realpath "${2:-$BUILD}")
bundle=$folder/bundle
cd "$(dirname "$0")/../.."
targets='^(ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libcu(da|blas|solver|sparse)[A-Za-z]*|libnv[A-Za-z-]+)\.so'

for tool in patchelf ompi_info objdump xz; do
  command -v "$tool" >/dev/null || { echo "bundle: $tool is missing (a bundle needs Open MPI and patchelf)" >&2; exit 4; }
done

# mpi_path NAME: where this Open MPI has its NAME.
mpi_path() { ompi_info --parsable --path "$1" | sed 's/^path:[a-z]*://'; }

# put FOLDER FILE...: copies into this folder of the bundle.
put() {
  mkdir -p "$bundle/$1"
  cp -rL "${@:2}" "$bundle/$1/"
}

# What ranks of one node and TCP need: other networks want libraries of their own, batch systems and ssh other nodes.
components() {
  local file
  for file in "$(mpi_path pkglibdir)"/mca_*.so; do
    case ${file##*/mca_} in
      *_ofi.so | *_ucx.so | *_psm.so | *_psm2.so | *_openib.so | *_monitoring.so) ;;
      memheap_* | atomic_* | scoll_* | spml_* | sshmem_* | ras_* | plm_rsh.so | plm_slurm.so) ;;
      *) echo "$file" ;;
    esac
  done
}

# The name and place of the libraries that what is in the bundle asks for and the target need not have.
libraries() {
  find "$bundle/bin" "$bundle/lib" -type f -exec ldd {} + 2>/dev/null |
    sed -n 's/^\t\(.*\) => \(\/.*\) (0x.*$/\1 \2/p' | sort -u -k 1,1 | grep -vE "$targets"
}

copy_libraries() {
  local name path
  libraries | while read -r name path; do cp -L "$path" "$bundle/lib/$name"; done
}

# DT_RPATH of a program also serves the libraries that these libraries load. That of the backend comes after LD_LIBRARY_PATH
# and leads to CUDA, where the build had it or where it usually is.
relocate() {
  local file up
  find "$bundle/bin" "$bundle/lib" -type f | while read -r file; do
    up=$(realpath --relative-to="$(dirname "$file")" "$bundle/lib")
    chmod u+w "$file"
    strip --strip-unneeded "$file"
    case $file in
      */libqgalore_cuda.so) patchelf --set-rpath "\$ORIGIN/$up:$(patchelf --print-rpath "$file"):/usr/local/cuda/lib64" "$file" ;;
      *) patchelf --force-rpath --set-rpath "\$ORIGIN/$up" "$file" ;;
    esac
  done
}

# The loader of this C library, and the oldest version that will do.
glibc() {
  echo "$(patchelf --print-interpreter "$bundle/bin/qgalore_hpc")" \
    "$(find "$bundle/bin" "$bundle/lib" -type f -exec objdump -T {} + | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1 | sed 's/GLIBC_//')"
}

# Plugins and messages of a PMIx that is not Open MPI's own lie beside its library.
pmix() {
  local place
  place=$(libraries | sed -n 's/^libpmix\.so[^ ]* //p')
  [ -n "$place" ] && place=$(dirname "$(realpath "$place")") && [ -d "$place/pmix" ] || return 0
  put lib "$place/pmix"
  put share "$place/../share/pmix"
}

executables() {
  local file found
  put bin "$BUILD"/qgalore_{hpc,ckpt} "$(mpi_path bindir)"/{orterun,orted}
  put bin/tests/cuda "$BUILD/tests/cuda/alone"
  for file in libqgalore_cuda.so tests/conformance/test_cuda_subspace tests/conformance/test_cuda_warm_block; do
    [ ! -f "$BUILD/$file" ] || put "bin/$(dirname "$file")" "$BUILD/$file"
  done
  mapfile -t found < <(components)
  put lib/openmpi "${found[@]}"
  pmix
}

texts() {
  put tests/cuda tests/cuda/{train,demo}.sh
  put tests/cuda/device tests/cuda/device/*.sh
  put tests/support/shell tests/support/shell/{tap,tiny_run}.sh
  put tests/bench tests/bench/peers
  [ ! -f demo-data/austen-train.h5 ] || put demo-data demo-data/*.h5
  put share/openmpi "$(mpi_path pkgdatadir)"/*
  put etc jobs/bundle/openmpi-mca-params.conf
  glibc >"$bundle/etc/glibc"
  put . inputs jobs/bundle/README LICENSE
  for name in qgalore_hpc qgalore_ckpt mpirun check-cuda bench-cuda; do
    install -m 755 jobs/bundle/launch "$bundle/$name"
  done
}

rm -rf "$bundle"
executables
copy_libraries
relocate
texts
tar -C "$folder" --owner=0 --group=0 -cf - bundle | XZ_OPT=${XZ_OPT:--2} xz -T2 >"$folder/qgalore_hpc-bundle.tar.xz"
du -sh "$bundle" "$folder/qgalore_hpc-bundle.tar.xz" | sed 's/^/bundle: /'
