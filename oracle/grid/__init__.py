"""The op grid: small models of one op (or a few), with what LiteRT computes for them in both modes.

    pip install ai-edge-litert==2.3.0 numpy flatbuffers
    python -m grid [--out ../testdata/grid] [FAMILY.OP ... | FAMILY ...]        (from the folder oracle/)

Each module of this package but `model`, `record`, `exact` and `exact_recurrent` is a family of ops. It has a table `OPS`: the
snake_case name of an op to a function that yields its cases (`record.Case`). A run writes OUT/OP.zip, which
crates/conformance/tests/op_grid.rs replays on every instruction set of the CPU in both modes: integers must be the same bytes,
floats within the bound that crates/runtime/src/exactness.rs declares for the op, measured from the true results, and within twice
the bound of LiteRT's, or as much more as LiteRT's own error.

In the archive, for each case: `CASE/model.tflite`; `CASE/case.json` (for each run, for each mode, the shapes of the outputs,
or null where LiteRT refuses or aborts); for run R, `CASE/R/inputI`, `CASE/R/litertI`, `CASE/R/referenceI` (raw little-endian
elements); for one op of float32 with a function in `exact`, `CASE/R/exactI`, its results in float64 (and `CASE/R/exact_litertI`
where XNNPACK defines the op otherwise); for float sums, `CASE/R/magnitudeI`, the sum of |terms| in float32. An op of float32 that
is promised to a bound and has no such function fails the replay.

Everything random comes from a generator seeded by the op's name, so that a rerun gives the same archives.
"""
