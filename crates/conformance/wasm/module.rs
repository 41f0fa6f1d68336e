//! The replay as a WebAssembly module without imports: `driver.mjs` puts files in, starts it, and prints the text it leaves.

use std::cell::RefCell;
use std::collections::BTreeMap;

use litesmith_conformance::{Report, grid, networks, plan};
use litesmith_runtime::{Isa, Numerics, Session};

#[derive(Default)]
struct State {
    /// Where the driver writes.
    inbox: Vec<u8>,
    files: BTreeMap<String, Vec<u8>>,
    /// Where it reads.
    outbox: String,
    session: Option<Session>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<R>(act: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(act)
}

/// Makes room for what the driver writes next; where.
// SAFETY: no other symbol of the module has the name, here and below.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(bytes: usize) -> *mut u8 {
    with(|state| {
        state.inbox = vec![0; bytes];
        state.inbox.as_mut_ptr()
    })
}

/// Keeps the inbox as a file: the first `name_bytes` are its name.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn keep(name_bytes: usize) {
    with(|state| {
        let mut name = std::mem::take(&mut state.inbox);
        let contents = name.split_off(name_bytes.min(name.len()));
        state.files.insert(String::from_utf8_lossy(&name).into_owned(), contents);
    });
}

/// Where the text is that the last call left.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn text() -> *const u8 {
    with(|state| state.outbox.as_ptr())
}

/// Replays every file, `OP.zip` as an archive of the op grid and the rest as the networks of `models.json`, on every
/// instruction set of the module. Leaves a summary and one line per failure; bytes of that text.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn replay() -> usize {
    with(|state| {
        let isas: Vec<_> = Isa::available().collect();
        let mut ops = Report::default();
        for (name, archive) in &state.files {
            if let Some(op) = name.strip_suffix(".zip") {
                ops.merge(grid::replay(op, archive, &isas));
            }
        }
        let networks = networks::replay(&|name| state.files.get(name).cloned(), |_, _| true, &[1], &isas);
        let networks = networks.unwrap_or_else(|error| Report { failures: vec![error], ..Report::default() });
        let names: Vec<_> = isas.iter().map(|isa| isa.name()).collect();
        state.outbox = format!(
            "{}: {} cases of ops in {} runs, {} networks in {} runs, {} failures\n",
            names.join(", "),
            ops.cases,
            ops.runs,
            networks.cases,
            networks.runs,
            ops.failures.len() + networks.failures.len()
        );
        for failure in ops.failures.iter().chain(&networks.failures) {
            state.outbox += failure;
            state.outbox.push('\n');
        }
        state.outbox.len()
    })
}

/// Plans the model in the inbox for instruction set number `isa` of the module. Leaves its name, or what was wrong; bytes of
/// that text. Number [`usize::MAX`] is the best.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn load(isa: usize) -> usize {
    with(|state| {
        let isa = Isa::available().nth(isa).unwrap_or_else(Isa::detect);
        state.outbox = match plan(&state.inbox, Numerics::Litert, isa, 1) {
            Ok(session) => {
                state.session = Some(session);
                isa.name().to_owned()
            }
            Err(error) => format!("error: {error}"),
        };
        state.outbox.len()
    })
}

/// Runs the loaded model `times` times; how often that went well.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn run(times: usize) -> usize {
    with(|state| {
        let Some(session) = &mut state.session else { return 0 };
        (0..times).filter(|_| session.run().is_ok()).count()
    })
}
