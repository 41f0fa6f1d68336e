//! The three forms of an inspection, on the networks of `testdata/models` and on what a hostile file could say.

use std::path::PathBuf;

use litesmith_graph::Metadata;
use litesmith_tflite::{Limits, inspect};

use super::*;

const HOSTILE: &str = "</script></title><script>alert(1)</script>\" onload='x' & \u{0}\u{202e}\u{ffff}\u{1b}[2J";

fn model(name: &str) -> Inspection {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../testdata/models", name].iter().collect();
    inspect(&std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

fn hostile() -> Inspection {
    let mut found = model("digits-int8.tflite");
    found.description = HOSTILE.into();
    found.min_runtime_version = Some(HOSTILE.into());
    found.metadata = Metadata { name: HOSTILE.into(), author: HOSTILE.into(), ..Metadata::default() };
    found.metadata_entries.push((HOSTILE.into(), 1));
    found.associated_files.push((HOSTILE.into(), 1));
    found.warnings.push(HOSTILE.into());
    found.operator_codes[0].name = HOSTILE.into();
    found.operator_codes[0].refusal = Some(HOSTILE.into());
    for graph in &mut found.subgraphs {
        graph.name = HOSTILE.into();
        graph.tensors.iter_mut().for_each(|tensor| tensor.name = HOSTILE.into());
        graph.ops.iter_mut().flat_map(|op| &mut op.attributes).for_each(|attribute| attribute.name = HOSTILE.into());
    }
    found.subgraphs.push(found.subgraphs[0].clone());
    found
}

/// The page as XML, its script apart: every element closed, every attribute quoted, every reference inside the page.
fn check_page(html: &str) {
    let (start, rest) = html.split_once("<script>").unwrap();
    let (script, end) = rest.split_once("</script>").unwrap();
    assert_eq!(script, include_str!("graph.js"));
    let page = format!("{start}{end}");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let elements: Vec<_> = document.descendants().filter(roxmltree::Node::is_element).collect();
    let ids: BTreeSet<_> = elements.iter().filter_map(|element| element.attribute("id")).collect();
    assert_eq!(ids.len(), elements.iter().filter(|element| element.has_attribute("id")).count(), "an id twice");
    for element in &elements {
        let name = element.tag_name().name();
        assert!(!["script", "link", "iframe", "object", "embed", "img"].contains(&name), "<{name}>");
        for attribute in element.attributes() {
            assert!(!attribute.name().starts_with("on") && attribute.name() != "src", "{attribute:?}");
        }
        if let Some(href) = element.attribute("href") {
            assert!(ids.contains(href.strip_prefix('#').unwrap()), "{href}");
        }
    }
    assert!(!page.contains("NaN") && !page.contains("inf "));
}

#[test]
fn the_text_of_a_small_network() {
    let text = inspection_text(&model("digits-int8.tflite"), true);
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "testdata/inspect-digits-int8.txt"].iter().collect();
    if std::env::var_os("LITESMITH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "`LITESMITH_BLESS=1 cargo test -p litesmith-measure` writes {}:\n{text}", path.display());
}

#[test]
fn json_holds_what_the_text_says() {
    let found = model("digits-int8.tflite");
    let json = inspection_json(&found);
    assert_eq!(json["operators"][0]["op"], "CONV_2D");
    assert_eq!(json["operators"][0]["implemented"], true);
    let graph = &json["subgraphs"][0];
    assert_eq!(graph["ops"].as_array().unwrap().len(), 13);
    let conv = &graph["ops"][1];
    assert_eq!((&conv["op"], &conv["attributes"]["padding"]), (&"CONV_2D".into(), &"SAME".into()));
    let filter = &graph["tensors"][conv["inputs"][1].as_u64().unwrap() as usize];
    assert_eq!((&filter["dtype"], filter["quantization"]["scales"].as_array().unwrap().len()), (&"int8".into(), 8));
    assert!(json["signatures"][0]["key"].is_string());
}

#[test]
fn pages_are_well_formed_and_draw_every_op() {
    for name in ["digits-int8.tflite", "blocks-f32.tflite", "activations-dynamic.tflite"] {
        let found = model(name);
        let html = inspection_html(&found, name);
        check_page(&html);
        let ends = found.subgraphs[0].inputs.len() + found.subgraphs[0].outputs.len();
        assert_eq!(html.matches("class=\"node ").count(), found.subgraphs[0].ops.len() + ends, "{name}");
        assert_eq!(html, inspection_html(&found, name));
        if let Ok(folder) = std::env::var("LITESMITH_REPORT") {
            std::fs::write(format!("{folder}/{name}.html"), html).unwrap();
        }
    }
}

#[test]
fn what_a_file_says_cannot_leave_its_place() {
    let found = hostile();
    check_page(&inspection_html(&found, HOSTILE));
    let text = inspection_text(&found, true);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{0}'));
    assert!(text.contains("not implemented by Litesmith"));
    assert!(inspection_json(&found)["operators"].as_array().unwrap().iter().any(|row| row["implemented"] == false));
}

#[test]
fn a_long_graph_is_drawn_and_a_longer_one_is_listed() {
    let mut found = model("digits-f32.tflite");
    let graph = &mut found.subgraphs[0];
    let op = graph.ops[0].clone();
    graph.ops = (0..1_000).map(|_| op.clone()).collect();
    check_page(&inspection_html(&found, "long"));
    found.subgraphs[0].ops = (0..5_001).map(|_| op.clone()).collect();
    let html = inspection_html(&found, "longer");
    assert!(html.contains("too many to draw") && html.contains("g0-op5000"));
}
