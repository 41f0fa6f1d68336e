//! Replays what LiteRT computed for single ops (`testdata/ops`, written by `oracle/make_op_goldens.py`): every case, in
//! both numerics, on every instruction set this CPU has, with one and with two threads. Integer outputs are compared
//! byte for byte.

mod convolution;
mod elementwise;
mod file;
mod hybrid;

use file::{Case, Golden};
use litesmith_kernels::{Context, Isa, Numerics, Pool, Unsupported};

/// Runs `run` for all cases of `op` and reports every difference at once.
fn replay<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(
    op: &str,
    only: impl Fn(&Case<'_>) -> bool,
    run: impl Fn(&Case<'_>, Context<'_>, Numerics) -> Result<Vec<T>, Unsupported>,
) {
    let golden = Golden::load(op);
    let pools = [Pool::serial(), Pool::new(2)];
    let mut failures = Vec::new();
    let (mut cases, mut compared) = (0, 0);
    for case in golden.cases().filter(|case| only(case)) {
        cases += 1;
        for (numerics, mode) in [(Numerics::Litert, "litert"), (Numerics::Reference, "reference")] {
            let Some(expected) = case.expected::<T>(mode) else { continue };
            for &isa in Isa::ALL.iter().filter(|isa| isa.is_available()) {
                for pool in &pools {
                    compared += 1;
                    let place = format!("{op} {} {mode} {isa:?} {} threads", case.name(), pool.threads());
                    match run(&case, Context { pool, isa }, numerics) {
                        Err(error) => failures.push(format!("{place}: {error}")),
                        Ok(got) => {
                            let wrong: Vec<_> = (0..expected.len()).filter(|&i| got[i] != expected[i]).collect();
                            if let [first, ..] = wrong[..] {
                                failures.push(format!(
                                    "{place}: {} of {} differ, the first at {first}: got {:?}, expected {:?}",
                                    wrong.len(),
                                    expected.len(),
                                    got[first],
                                    expected[first]
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(compared > 0 || file::elsewhere().is_some(), "{op}: no case was compared");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
    println!("{op}: {cases} cases in {compared} runs");
}
