#!/bin/sh
# What cargo runs instead of rustc for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER): the same compiler, which counts for libFuzzer
# which edges ran and remembers what was compared. Build scripts are not linked with libFuzzer, so they stay as they are.
case " $* " in
  *" --crate-name build_script_"*) exec "$@" ;;
  *" --crate-name "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 ;;
  *) exec "$@" ;;
esac
