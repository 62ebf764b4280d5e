#!/bin/bash
# Puts what a GPU node without our libraries needs into one folder: jobs/bundle/make.sh BUILD (make bundle). Writes BUILD/bundle and
# BUILD/qgalore_hpc-bundle.tar.xz. The C library, the driver and NVIDIA's libraries are the target's.
set -eu
BUILD=$(realpath "${1:?usage: jobs/bundle/make.sh BUILD}")
cd "$(dirname "$0")/../.."
bundle=$BUILD/bundle
targets='^(ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libcu(da|blas|solver|sparse)[A-Za-z]*|libnv[A-Za-z-]+)\.so'

for tool in patchelf ompi_info objdump xz; do
  command -v "$tool" >/dev/null || { echo "bundle: $tool is missing (a bundle needs Open MPI and patchelf)" >&2; exit 4; }
done

# mpi_path NAME: where this Open MPI has its NAME.
mpi_path() { ompi_info --parsable --path "$1" | sed 's/^path:[a-z]*://'; }

# programs FOLDER FILE...: copies without symbols.
programs() {
  local folder=$bundle/$1
  shift
  mkdir -p "$folder"
  cp -L "$@" "$folder/"
}

# What a single node or a TCP network needs; the other networks want libraries of their own.
components() {
  local file
  for file in "$(mpi_path pkglibdir)"/mca_*.so; do
    case ${file##*/} in
      *_ofi.so | *_ucx.so | *_psm.so | *_psm2.so | *_openib.so | mca_memheap_* | mca_atomic_* | mca_scoll_* | mca_spml_* | mca_sshmem_* | *_monitoring.so) ;;
      *) echo "$file" ;;
    esac
  done
}

# libraries: those that what is in the bundle asks for and the target need not have.
libraries() {
  find "$bundle/bin" "$bundle/lib" -type f -exec ldd {} + 2>/dev/null |
    sed -n 's/^\t\(.*\) => \(\/.*\) (0x.*$/\1 \2/p' | sort -u -k 1,1 | grep -vE "$targets"
}

copy_libraries() {
  local name path
  libraries | while read -r name path; do
    [ -e "$bundle/lib/$name" ] || cp -L "$path" "$bundle/lib/$name"
  done
}

# DT_RPATH of a program also serves the libraries that these libraries load.
relocate() {
  local file up
  find "$bundle/bin" "$bundle/lib" -type f | while read -r file; do
    up=$(realpath --relative-to="$(dirname "$file")" "$bundle/lib")
    chmod u+w "$file"
    strip --strip-unneeded "$file"
    case $file in
      */libqgalore_cuda.so) patchelf --set-rpath "\$ORIGIN/$up:/usr/local/cuda/lib64" "$file" ;;
      *) patchelf --force-rpath --set-rpath "\$ORIGIN/$up" "$file" ;;
    esac
  done
}

newest_glibc() {
  find "$bundle/bin" "$bundle/lib" -type f -exec objdump -T {} + | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1 | sed 's/GLIBC_//'
}

rm -rf "$bundle"
programs bin "$BUILD/qgalore_hpc" "$BUILD/qgalore_ckpt" "$(mpi_path bindir)/orterun" "$(mpi_path bindir)/orted"
programs bin/tests/cuda/alone "$BUILD"/tests/cuda/alone/*
[ ! -x "$BUILD/tests/conformance/test_cuda_subspace" ] || programs bin/tests/conformance "$BUILD/tests/conformance/test_cuda_subspace"
mapfile -t found < <(components)
programs lib/openmpi "${found[@]}"
[ ! -f "$BUILD/libqgalore_cuda.so" ] || programs bin "$BUILD/libqgalore_cuda.so"
copy_libraries
relocate
mkdir -p "$bundle/share" "$bundle/etc" "$bundle/tests/cuda/device" "$bundle/tests/support"
cp -rL "$(mpi_path pkgdatadir)" "$bundle/share/openmpi"
cp tests/cuda/{train,demo}.sh "$bundle/tests/cuda/"
cp tests/cuda/device/*.sh "$bundle/tests/cuda/device/"
cp tests/support/*.sh "$bundle/tests/support/"
mkdir -p "$bundle/tests/bench"
cp -r tests/bench/peers "$bundle/tests/bench/"
cp -r inputs "$bundle/"
[ ! -d demo-data ] || { mkdir "$bundle/demo-data" && cp demo-data/*.h5 "$bundle/demo-data/"; }
cp jobs/bundle/README LICENSE "$bundle/"
newest_glibc >"$bundle/etc/glibc"
for name in qgalore_hpc qgalore_ckpt mpirun check-cuda bench-cuda; do
  install -m 755 jobs/bundle/launch "$bundle/$name"
done
tar -C "$BUILD" -cf - bundle | xz -T2 -2 >"$BUILD/qgalore_hpc-bundle.tar.xz"
du -sh "$bundle" "$BUILD/qgalore_hpc-bundle.tar.xz" | sed 's/^/bundle: /'
