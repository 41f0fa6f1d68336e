//! Rules that no lint of the compiler knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crate may depend on which others of ours. A line here is a decision: see ARCHITECTURE.md.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("graph", &[]),
    ("tflite", &["graph"]),
    ("simd", &[]),
    ("kernels", &["simd"]),
    ("runtime", &["graph", "kernels"]),
    ("data", &["graph"]),
    ("train", &["graph", "kernels", "runtime", "data"]),
    ("compress", &["graph", "tflite", "kernels", "runtime", "data", "train", "measure"]),
    ("measure", &["graph", "tflite", "runtime", "data"]),
    ("litesmith", &["graph", "tflite", "kernels", "runtime", "data", "train", "compress", "measure"]),
    ("cli", &["litesmith"]),
    ("testkit", &["graph"]),
    ("conformance", &["graph", "tflite", "runtime"]),
    ("fuzz", &["graph", "tflite", "runtime", "testkit"]),
];

/// Lines that a source file may have, and the files that may have more, with the reason.
const LINES_MAX: usize = 800;
const LONG_FILES: &[(&str, &str)] = &[];

/// Where each op of the table must have a file. That the other crates handle it, the compiler sees.
const OP_FOLDERS: &[&str] = &["crates/graph/src/ops", "crates/tflite/src/ops"];

/// Files that hold several ops.
const OP_FAMILIES: &[&str] = &[
    "activations.rs",
    "arithmetic.rs",
    "batch_space.rs",
    "comparisons.rs",
    "complex.rs",
    "control_flow.rs",
    "creation.rs",
    "elementwise.rs",
    "indexing.rs",
    "lstm.rs",
    "non_max_suppression.rs",
    "rnn.rs",
    "rearrange.rs",
    "reductions.rs",
    "variables.rs",
];

/// Checks every rule and reports all violations at once.
pub(crate) fn tidy() -> Result<(), String> {
    let files = tracked_files()?;
    let mut found = Vec::new();
    dependencies(&mut found)?;
    file_sizes(&files, &mut found);
    machine_paths(&files, &mut found);
    op_files(&files, &mut found);
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("tidy found {} violations:\n  {}", found.len(), found.join("\n  ")))
}

fn tracked_files() -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| format!("git did not start: {error}"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.lines().map(PathBuf::from).filter(|path| path.exists()).collect())
}

fn dependencies(found: &mut Vec<String>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for (name, allowed) in DEPENDENCIES {
        known.insert((*name).to_owned());
        let path = format!("crates/{name}/Cargo.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            let Some(ours) = dependency.strip_prefix("litesmith").filter(|_| section == "[dependencies]") else {
                continue;
            };
            let ours = ours.strip_prefix('-').unwrap_or("litesmith");
            if !allowed.contains(&ours) {
                found.push(format!("{path}: {name} must not depend on {ours} (xtask/src/tidy.rs has the table)"));
            }
        }
    }
    let folders = std::fs::read_dir("crates").map_err(|error| format!("crates: {error}"))?;
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            found.push(format!("crates/{name}: not in the dependency table of xtask/src/tidy.rs"));
        }
    }
    Ok(())
}

fn file_sizes(files: &[PathBuf], found: &mut Vec<String>) {
    for path in files.iter().filter(|path| is(path, &["rs", "py", "sh"])) {
        let name = path.to_string_lossy();
        if name.contains("generated") || LONG_FILES.iter().any(|(long, _)| *long == name) {
            continue;
        }
        let lines = std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        if lines > LINES_MAX {
            found.push(format!("{name}: {lines} lines, at most {LINES_MAX}: split it by what it does"));
        }
    }
}

/// Paths below somebody's home, which exist on the machine of whoever wrote them and nowhere else.
fn machine_paths(files: &[PathBuf], found: &mut Vec<String>) {
    let foreign = ["root", "home", "Users"].map(|folder| format!("/{folder}/"));
    for path in files.iter().filter(|path| is(path, &["rs", "py", "sh", "md", "toml", "yml", "json"])) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(foreign) = foreign.iter().find(|foreign| line.contains(foreign.as_str())) {
                found.push(format!("{}:{}: a path of one machine: {foreign}", path.display(), number + 1));
            }
        }
    }
}

fn op_files(files: &[PathBuf], found: &mut Vec<String>) {
    for folder in OP_FOLDERS {
        // Ops of a line or two each share the file of their family.
        let group: String = OP_FAMILIES
            .iter()
            .map(|family| std::fs::read_to_string(Path::new(folder).join(family)).unwrap_or_default())
            .collect();
        for (snake, name, code) in litesmith_graph::OP_TABLE {
            let training_only = code.is_none() && folder.contains("tflite");
            let file = Path::new(folder).join(format!("{snake}.rs"));
            if !training_only && !files.contains(&file) && !group.contains(&camel_case(snake)) {
                found.push(format!("{name} is in the op table, but {} is missing", file.display()));
            }
        }
    }
}

/// `leaky_relu` as `LeakyRelu`.
fn camel_case(snake: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    snake.split('_').map(capital).collect()
}

fn is(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}
