//! Layers, machine, versions, and how to make the report again.

use super::markup::Markup;
use super::{bar, cell, header_row, scrolling};
use crate::format::{bytes, count, plural, quantity};
use crate::{Fact, ModelSummary, Report};

pub(super) fn layers(m: &mut Markup, summary: &ModelSummary) {
    m.el("p", &[("class", "lead")], |m| {
        m.prose(&format!(
            "{} with {}, {} multiply-accumulates (MACs) for one input, {} of weights. In: ",
            plural(summary.layers.len() as u64, "layer"),
            plural(summary.parameters, "parameter"),
            quantity(summary.macs),
            bytes(summary.weight_bytes)
        ));
        m.leaf("code", &[], &summary.inputs.join(", "));
        m.text(", out: ");
        m.leaf("code", &[], &summary.outputs.join(", "));
        m.text(".");
    });
    scrolling(m, "Layers", |m| {
        m.el("table", &[], |m| {
            let columns = ["#", "op", "name", "output", "parameters", "weight bytes", "MACs", "share of MACs"];
            header_row(m, 4, &columns);
            m.el("tbody", &[], |m| {
                let some = |value: u64| if value == 0 { "–".into() } else { count(value) };
                for (index, layer) in summary.layers.iter().enumerate() {
                    m.el("tr", &[], |m| {
                        m.leaf("td", &[("class", "l")], &index.to_string());
                        m.leaf("th", &[("scope", "row"), ("class", "l")], &layer.op);
                        m.el("td", &[("class", "l"), ("title", &layer.name)], |m| m.name(&layer.name));
                        m.el("td", &[("class", "l")], |m| m.leaf("code", &[], &layer.output()));
                        cell(m, &some(layer.parameters));
                        cell(m, &some(layer.weight_bytes));
                        cell(m, &some(layer.macs));
                        m.el("td", &[], |m| {
                            if layer.macs > 0 {
                                bar(m, layer.macs_share);
                                m.leaf("span", &[("class", "share")], &format!("{:.1} %", layer.macs_share * 100.0));
                            } else {
                                m.text("–");
                            }
                        });
                    });
                }
            });
            m.el("tfoot", &[], |m| {
                m.el("tr", &[], |m| {
                    m.leaf("td", &[], "");
                    m.leaf("th", &[("scope", "row"), ("class", "l"), ("colspan", "3")], "total");
                    for value in [summary.parameters, summary.weight_bytes, summary.macs] {
                        cell(m, &count(value));
                    }
                    cell(m, "");
                });
            });
        });
    });
    m.leaf(
        "p",
        &[("class", "explain")],
        "Multiply-accumulates tell where the time goes, weight bytes where the size goes. In convolutional networks they are \
         rarely the same layer: convolutions use few weights often, dense layers many weights once. −1 in a shape is the \
         batch, which the caller chooses.",
    );
}

pub(super) fn making(m: &mut Markup, report: &Report) {
    let mut all = report.facts.clone();
    if let Some(machine) = &report.machine {
        all.push(Fact::new("processor", format!("{}, {}", machine.cpu, plural(machine.threads as u64, "thread"))));
        if !machine.features.is_empty() {
            all.push(Fact::new("vector extensions", machine.features.join(", ")));
        }
        all.extend(machine.memory_bytes.map(|memory| Fact::new("memory", bytes(memory))));
        all.push(Fact::new("system", format!("{}, {}", machine.os, machine.arch)));
    }
    facts(m, &all);
    if !report.reproduce.is_empty() {
        m.leaf("h3", &[], "To make it again");
        m.leaf("pre", &[("tabindex", "0")], &report.reproduce.join("\n"));
    }
}

/// Names and values.
pub(super) fn facts(m: &mut Markup, facts: &[Fact]) {
    m.el("dl", &[], |m| {
        for fact in facts {
            m.leaf("dt", &[], &fact.name);
            m.leaf("dd", &[], &fact.value);
        }
    });
}
