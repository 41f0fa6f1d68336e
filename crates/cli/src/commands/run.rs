//! `run`.

use std::path::Path;

use litesmith::data::{Image, RawArray, load_image, load_npy};
use litesmith::inputs::open_session;
use litesmith::measure::{Align, TextTable, format};
use litesmith::runtime::{Fate, NodeInfo};
use litesmith::{Error, Isa, Predictor, Result, Session, files, raw};

use super::{existing, load_arrays, load_model, named, session_options};
use crate::Verdict;
use crate::args::RunArgs;
use crate::output::Output;

pub(crate) fn run(args: &RunArgs, output: &Output) -> Result<Verdict> {
    let model = load_model(&args.model, output)?;
    let options = session_options(&args.runtime, output);
    let at_model = |error: Error| error.at(args.model.display());
    let open = |options| open_session(&model, args.signature.as_deref(), options);
    if args.explain {
        let mut session = open(options).map_err(at_model)?;
        let arrays = load_arrays(&args.input)?;
        if !arrays.is_empty() {
            // What depends on their values is planned while running.
            raw::run_arrays(&mut session, &arrays).map_err(at_model)?;
        }
        return explain(&session, output);
    }
    if args.output_raw.is_empty() && args.images.is_empty() {
        let (message, hint) = if args.input.is_empty() {
            (
                "there is nothing to run the model on",
                "name images, or --input FILE.npy and --output-raw FILE.npy, or --explain",
            )
        } else {
            ("--input says what to read, and nothing says where to write", "--output-raw FILE.npy")
        };
        return Err(Error::invalid(args.model.display(), message).with_hint(hint));
    }
    if !args.output_raw.is_empty() {
        let mut session = open(options).map_err(at_model)?;
        return run_raw(&mut session, args, output);
    }
    let mut predictor = Predictor::new(&model, options, None).map_err(at_model)?;
    if model.metadata.inputs.iter().all(|input| input.normalization.is_none()) {
        output.detail("the model does not say how pixels become numbers; they are scaled to 0 to 1");
    }
    let mut results = Vec::new();
    for path in &args.images {
        for (index, image) in load_images(path)?.iter().enumerate() {
            let scores = predictor.predict_image(image).map_err(|error| error.at(path.display()))?.to_vec();
            let best = best(&scores, usize::from(args.top));
            results.push((path, index, best, scores));
        }
    }
    let label = |class: usize| predictor.labels().get(class).cloned().unwrap_or_else(|| class.to_string());
    if output.json {
        let list = results.iter().map(|(path, index, best, scores)| {
            let classes = best
                .iter()
                .map(|&class| serde_json::json!({ "class": class, "label": label(class), "score": scores[class] }));
            serde_json::json!({ "image": path, "index": index, "top": classes.collect::<Vec<_>>() })
        });
        output.print_json(&list.collect())?;
        return Ok(Verdict::Good);
    }
    for (path, index, best, scores) in &results {
        let several = results.iter().filter(|result| result.0 == *path).count() > 1;
        let name = if several { format!("{} [{index}]", path.display()) } else { path.display().to_string() };
        let mut table = TextTable::new(&[(name.as_str(), Align::Left), ("score", Align::Right)]);
        for &class in best {
            table.row([label(class), format::number(f64::from(scores[class]))]);
        }
        output.print(&table.to_string())?;
    }
    Ok(Verdict::Good)
}

/// Arrays in, arrays out.
fn run_raw(session: &mut Session, args: &RunArgs, output: &Output) -> Result<Verdict> {
    let at_model = |error: Error| error.at(args.model.display());
    let outputs: Vec<_> = args.output_raw.iter().map(|text| named(text)).collect();
    let mut next = 0;
    let mut indices = Vec::with_capacity(outputs.len());
    for (name, path) in &outputs {
        files::check_absent(path, existing(args.force))?;
        let index = match name {
            Some(name) => session.output_index(name)?,
            None => {
                next += 1;
                next - 1
            }
        };
        session.output_tensor(index)?;
        indices.push(index);
    }
    let inputs: Vec<_> = args.input.iter().map(|text| named(text)).collect();
    let results = match (inputs.as_slice(), indices.as_slice()) {
        // Images one after another, in batches.
        ([(None, path)], [0]) if session.input_count() == 1 => {
            vec![raw::run_npy(session, &RawArray::load(path)?).map_err(at_model)?]
        }
        _ => {
            let arrays = load_arrays(&args.input)?;
            let left = session.input_count().saturating_sub(arrays.len());
            if left > 0 {
                output.warn(&format!(
                    "{left} of the {} inputs get no array and are zeros: --input NAME=FILE gives one",
                    session.input_count()
                ));
            }
            raw::run_arrays(session, &arrays).map_err(at_model)?;
            indices.iter().map(|&index| raw::output_npy(session, index)).collect::<Result<Vec<_>>>()?
        }
    };
    for ((_, path), bytes) in outputs.iter().zip(&results) {
        files::save(path, bytes, existing(args.force))?;
        if !output.json {
            output.say(&format!("wrote {}", path.display()));
        }
    }
    if output.json {
        let list = outputs.iter().zip(&results);
        let list = list.map(|((_, path), bytes)| serde_json::json!({ "output": path, "file_bytes": bytes.len() }));
        match list.collect::<Vec<_>>().as_slice() {
            [one] => output.print_json(one)?,
            several => output.print_json(&serde_json::json!({ "outputs": several }))?,
        }
    }
    Ok(Verdict::Good)
}

fn explain(session: &Session, output: &Output) -> Result<Verdict> {
    let (nodes, isa, memory) = (session.explain(), session.isa(), session.memory());
    if output.json {
        output.print_json(&serde_json::json!({
            "isa": isa.name(), "nodes": nodes.iter().map(|node| node_json(node, isa)).collect::<Vec<_>>(),
            "arena_bytes": memory.arena_bytes, "scratch_bytes": memory.scratch_bytes,
            "weight_bytes": memory.weight_bytes, "table_bytes": memory.table_bytes,
        }))?;
        return Ok(Verdict::Good);
    }
    let mut text = String::new();
    add_nodes(&nodes, isa, &mut text);
    let (count, slow) = counts(&nodes, isa);
    let bytes = |bytes: usize| format::bytes(bytes as u64);
    let slow = if slow == 0 { String::new() } else { format!(", {slow} of them slow") };
    output.print(&format!(
        "{text}\n{} for {isa}{slow}; activations {}, scratch {}, weights {}, tables {}\n",
        format::plural(count, "op"),
        bytes(memory.arena_bytes),
        bytes(memory.scratch_bytes),
        bytes(memory.weight_bytes),
        bytes(memory.table_bytes),
    ))?;
    Ok(Verdict::Good)
}

fn node_json(node: &NodeInfo, isa: Isa) -> serde_json::Value {
    let mut json = serde_json::json!({ "node": node.node, "place": node.place, "output": node.output });
    match &node.fate {
        Fate::Kernel { name, slots, scratch_bytes, table_bytes, along } => {
            json["kernel"] = name.as_str().into();
            json["slots"] = slots.as_slice().into();
            json["scratch_bytes"] = (*scratch_bytes).into();
            json["table_bytes"] = (*table_bytes).into();
            json["along"] = along.as_slice().into();
            json["slow"] = node.is_slow(isa).into();
        }
        Fate::View { of } => json["view_of"] = of.as_str().into(),
        Fate::Folded => json["folded"] = true.into(),
        Fate::Fused => json["fused"] = true.into(),
        Fate::Later => json["later"] = true.into(),
        other => json["fate"] = format!("{other:?}").into(),
    }
    if !node.subgraphs.is_empty() {
        let nodes = |nodes: &[NodeInfo]| nodes.iter().map(|node| node_json(node, isa)).collect::<Vec<_>>();
        let subgraphs = node.subgraphs.iter();
        let subgraphs = subgraphs.map(|found| serde_json::json!({ "name": found.name, "nodes": nodes(&found.nodes) }));
        json["subgraphs"] = subgraphs.collect();
    }
    json
}

/// How many ops there are, those of called subgraphs included, and how many are slow.
fn counts(nodes: &[NodeInfo], isa: Isa) -> (u64, u64) {
    nodes.iter().fold((0, 0), |(ops, slow), node| {
        let within = node.subgraphs.iter().map(|found| counts(&found.nodes, isa));
        within.fold((ops + 1, slow + u64::from(node.is_slow(isa))), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    })
}

/// A table of a graph, and one for each subgraph that its ops run.
fn add_nodes(nodes: &[NodeInfo], isa: Isa, text: &mut String) {
    let columns = [
        ("#", Align::Right),
        ("op", Align::Left),
        ("name", Align::Left),
        ("output", Align::Left),
        ("runs as", Align::Left),
        ("memory", Align::Left),
    ];
    let mut table = TextTable::new(&columns);
    for node in nodes {
        let (runs, memory) = match &node.fate {
            Fate::Kernel { name, slots, .. } => {
                let slots: Vec<_> = slots.iter().map(|slot| format!("slot {slot}")).collect();
                let mark = if node.is_slow(isa) { "  (slow: no vector kernel)" } else { "" };
                (format!("{name}{mark}"), slots.join(", "))
            }
            Fate::View { of } => (format!("nothing: a view of \"{}\"", format::shortened(of, 40)), String::new()),
            Fate::Folded => ("nothing: folded into a constant".into(), String::new()),
            Fate::Fused => ("nothing: done by another op's kernel".into(), String::new()),
            Fate::Later => ("planned while running, for the values it depends on".into(), String::new()),
            other => (format!("{other:?}"), String::new()),
        };
        let name = format::shortened(&node.name, 40);
        table.row([node.node.to_string(), node.op.to_owned(), name, node.output.clone(), runs, memory]);
    }
    *text += &table.to_string();
    for node in nodes {
        for found in &node.subgraphs {
            *text += &format!("\nsubgraph \"{}\", which {} runs\n", found.name, node.place);
            add_nodes(&found.nodes, isa, text);
        }
    }
}

fn load_images(path: &Path) -> Result<Vec<Image>> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        return load_npy(path)?.images().map_err(|error| error.at(path.display()));
    }
    Ok(vec![load_image(path)?])
}

/// The classes with the highest scores, highest first; NaN is lowest, equal scores keep their order.
fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let key = |class: usize| if scores[class].is_nan() { f32::NEG_INFINITY } else { scores[class] };
    let mut classes: Vec<_> = (0..scores.len()).collect();
    classes.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    classes.truncate(count);
    classes
}
