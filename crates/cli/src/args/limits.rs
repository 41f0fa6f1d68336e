//! `--limit`.

use litesmith::runtime::SessionLimits;
use litesmith::tflite::Limits;

/// A limit by its name, and what it is set to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitArg {
    set: fn(&mut Limits, &mut SessionLimits, u64),
    value: u64,
}

type Row = (&'static str, fn(&mut Limits, &mut SessionLimits, u64));

/// Where a count does not fit the machine's addresses, it is no limit.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

const LIMITS: [Row; 11] = [
    ("file-bytes", |file, _, value| file.file_bytes = size(value)),
    ("subgraphs", |file, _, value| file.subgraphs = size(value)),
    ("tensors", |file, _, value| file.tensors = size(value)),
    ("nodes", |file, _, value| file.nodes = size(value)),
    ("expansion", |file, _, value| file.expansion = size(value)),
    ("sparse-bytes", |file, _, value| file.sparse_bytes = size(value)),
    ("associated-file-bytes", |file, _, value| file.associated_file_bytes = size(value)),
    ("call-depth", |_, run, value| run.call_depth = size(value)),
    ("planned-nodes", |_, run, value| run.planned_nodes = value),
    ("stages", |_, run, value| run.stages = size(value)),
    ("loop-iterations", |_, run, value| run.loop_iterations = value),
];

impl LimitArg {
    /// Of `NAME=N`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once('=').ok_or("expected NAME=N, as tensors=2000000")?;
        let (name, number) = (name.trim(), number.trim());
        let Some(&(_, set)) = LIMITS.iter().find(|row| row.0 == name) else {
            let known: Vec<_> = LIMITS.iter().map(|row| row.0).collect();
            return Err(format!("unknown limit \"{name}\", expected one of {}", known.join(", ")));
        };
        let value = number.parse().map_err(|_| format!("got \"{number}\" for {name}, expected a whole number"))?;
        Ok(Self { set, value })
    }

    /// Sets it.
    pub(crate) fn apply(self, file: &mut Limits, run: &mut SessionLimits) {
        (self.set)(file, run, self.value);
    }
}
