#!/bin/bash
# What the kernels promise and only their code shows, read in the PTX that devices newer than the build compile for
# themselves. Run from the repository root; prints TAP.
# shellcheck disable=SC2016,SC2317 # functions are called through check, and expressions through eval
# shellcheck disable=SC2154 # tmp comes from nvcc.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/nvcc.sh

compile() { # FILE
  compile_kernels -arch=compute_90 -ptx -o "$tmp/$(basename "$1" .cu).ptx" "$1"
}

# absent PATTERN FILE...: no line has it.
absent() {
  ! grep -nE "$1" "${@:2}" | head -5 | sed 's/^/# /' | grep .
}

# Arithmetic without a rounding mode is the one that a compiler may contract.
keeps_every_rounding() { # FILE...
  absent '[[:space:]](add|sub|mul|mad|div|sqrt|rcp)\.(sat\.)?f(32|64)' "$@"
}

# The two that flush are inside of libraries' functions, where no result is subnormal yet.
keeps_subnormal_numbers() { # FILE...
  absent '^[^/]*\.ftz' <(grep -vhE 'ex2\.approx\.ftz\.f32|rcp\.approx\.ftz\.f64' "$@")
}

# Kernels that move parts and little else: for PART scalar accesses where addresses are odd there is a wide one where they are
# not, and up to four scalars beside (parameters of groups, an id, statistics of a row).
moves_whole_parts() { # FILE...
  cat "$@" | c++filt | awk '
    /\.entry/ { name = $0; wanted = /k_(convert|scale_add|embed<|pack|unpack|swiglu|dequantize|attention)/ }
    !wanted { next }
    /(ld|st)\.global\./ {
      way = /ld\.global/ ? "loads" : "stores"
      if (/\.v[24]\./) wide[name, way]++; else narrow[name, way]++
      seen[name]
    }
    END {
      for (name in seen) {
        kernels++
        for (i = 1; i <= 2; i++) {
          way = i == 1 ? "loads" : "stores"
          if (narrow[name, way] > 8 * wide[name, way] + 4) { print "# " way " of " name; torn++ }
        }
      }
      exit torn > 0 || !kernels
    }'
}

files=()
for file in cuda/kernels/*.cu; do
  check "$file compiles to PTX" compile "$file"
  files+=("$tmp/$(basename "$file" .cu).ptx")
done
check "no product is contracted with a sum" keeps_every_rounding "${files[@]}"
check "subnormal numbers are kept" keeps_subnormal_numbers "${files[@]}"
check "sums do not depend on who comes first: no atomics" absent '[[:space:]](atom|red)\.' "${files[@]}"
check "parts are moved whole" moves_whole_parts "${files[@]}"

printf '\tmul.f32 %%f1, %%f2, %%f3;\n\tmul.rn.ftz.f32 %%f1, %%f2, %%f3;\n' >"$tmp/planted"
printf '.entry k_convert(\n%s' "$(printf '\tst.global.u16 [%%rd4], %%rs1;\n%.0s' {1..14})" >"$tmp/torn"
check "a product that may be contracted is noticed" eval '! keeps_every_rounding "$tmp/planted" >/dev/null'
check "a product that flushes is noticed" eval '! keeps_subnormal_numbers "$tmp/planted" >/dev/null'
check "a store that is torn is noticed" eval '! moves_whole_parts "$tmp/torn" >/dev/null'
finish
