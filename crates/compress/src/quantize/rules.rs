//! Rules: what single ops become, where that differs from the rest of the model.

use std::fmt;
use std::str::FromStr;

use litesmith_graph::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use super::{Granularity, QuantizeOptions, Scheme, WeightBits};

/// Which ops a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Those whose first output is called so; `*` stands for any characters, `?` for one.
    Name(String),
    /// Those of this type, such as `CONV_2D`; with `*` and `?` as well.
    Op(String),
    /// The one with this index in the float graph.
    Node(usize),
}

/// `dense*`, `op:CONV_2D`, `node:3`.
impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("op", name)) => Ok(Self::Op(name.into())),
            Some(("node", index)) => index.parse().map(Self::Node).map_err(|_| {
                Error::invalid(format!("rule \"{text}\""), format!("got node \"{index}\", expected a number"))
            }),
            _ if text.is_empty() => Err(Error::invalid("rule", "got no ops, expected a pattern such as dense*")),
            _ => Ok(Self::Name(text.into())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => f.write_str(pattern),
            Self::Op(pattern) => write!(f, "op:{pattern}"),
            Self::Node(index) => write!(f, "node:{index}"),
        }
    }
}

impl Selector {
    /// Whether node `index` of `graph` is one of them; none is beyond the last.
    #[must_use]
    pub fn selects(&self, graph: &Graph, index: usize) -> bool {
        let Some(node) = graph.nodes.get(index) else { return false };
        match self {
            Self::Name(pattern) => {
                node.outputs.first().is_some_and(|&id| matches(pattern.as_bytes(), graph.tensor(id).name.as_bytes()))
            }
            Self::Op(pattern) => matches(pattern.as_bytes(), node.op.name().as_bytes()),
            Self::Node(number) => *number == index,
        }
    }
}

/// Whether `text` is what `pattern` describes.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last star stood, and what it was tried with: only the last one ever needs another try.
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((position, tried)) = star else { return false };
                star = Some((position, tried + 1));
                (at, from) = (position + 1, tried + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// What the selected ops become; what is left out stays as for the rest of the model.
///
/// Written `OPS=WHAT,..`, as `dense*=int16x8`, `op:CONV_2D=w4,per-tensor` or `node:3=float32`: a scheme (`float32`, `float16`,
/// `dynamic`, `weight-only`, `int8`, `int16x8`), bits of the weights (`w4`, `w8`), and how many scales they have
/// (`per-tensor`, `per-channel`, `blockwise-32` and so on). Where several rules select an op, each adds to those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Which ops.
    pub ops: Selector,
    /// How they compute.
    pub scheme: Option<Scheme>,
    /// How many bits their weights have.
    pub weights: Option<WeightBits>,
    /// How many scales their weights have.
    pub granularity: Option<Granularity>,
}

impl Rule {
    /// The ops selected stay float32.
    #[must_use]
    pub fn keep_float(ops: Selector) -> Self {
        Self { ops, scheme: Some(Scheme::Float32), weights: None, granularity: None }
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let place = || format!("rule \"{text}\"");
        let hint = "write OPS=WHAT,.. with a scheme (float32, float16, dynamic, weight-only, int8, int16x8), w4 or w8, and \
                    per-tensor, per-channel or blockwise-32 (64, 128, 256), as dense*=int16x8 or op:CONV_2D=w4";
        let (ops, what) = text.split_once('=').ok_or_else(|| {
            Error::invalid(place(), "there is no = between ops and what becomes of them").with_hint(hint)
        })?;
        let mut rule = Self { ops: ops.parse()?, scheme: None, weights: None, granularity: None };
        for word in what.split(',').map(str::trim) {
            match word {
                "w4" => rule.weights = Some(WeightBits::Int4),
                "w8" => rule.weights = Some(WeightBits::Int8),
                _ => match Granularity::ALL.iter().find(|granularity| granularity.keyword() == word) {
                    Some(granularity) => rule.granularity = Some(*granularity),
                    None => match word.parse() {
                        Ok(scheme) => rule.scheme = Some(scheme),
                        Err(_) => return Err(Error::invalid(place(), format!("got \"{word}\"")).with_hint(hint)),
                    },
                },
            }
        }
        Ok(rule)
    }
}

impl TryFrom<String> for Rule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.scheme.map(Scheme::keyword),
            self.weights.map(|bits| if bits == WeightBits::Int4 { "w4" } else { "w8" }),
            self.granularity.map(Granularity::keyword),
        ];
        write!(f, "{}={}", self.ops, words.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

/// What one op is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) scheme: Scheme,
    pub(crate) weights: WeightBits,
    pub(crate) granularity: Granularity,
    /// Whether a rule gave the scheme.
    pub(crate) explicit: bool,
}

/// What each op of `graph` is to become.
///
/// # Errors
/// [`Error::Invalid`] for a rule that selects no op.
pub(crate) fn choices(graph: &Graph, options: &QuantizeOptions) -> Result<Vec<Choice>> {
    let base =
        Choice { scheme: options.scheme, weights: options.weights, granularity: options.granularity, explicit: false };
    let mut choices = vec![base; graph.nodes.len()];
    for rule in &options.rules {
        let mut selected = false;
        for (_, choice) in choices.iter_mut().enumerate().filter(|(index, _)| rule.ops.selects(graph, *index)) {
            selected = true;
            choice.scheme = rule.scheme.unwrap_or(choice.scheme);
            choice.explicit |= rule.scheme.is_some();
            choice.weights = rule.weights.unwrap_or(choice.weights);
            choice.granularity = rule.granularity.unwrap_or(choice.granularity);
        }
        if !selected {
            let names: Vec<_> = (0..graph.nodes.len().min(8)).map(|index| graph.place(index)).collect();
            let more = if graph.nodes.len() > 8 { ", .." } else { "" };
            return Err(Error::invalid(format!("rule \"{rule}\""), "it selects no op")
                .with_hint(format!("the model has {}{more}", names.join(", "))));
        }
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("dense*", "dense_1", true),
            ("dense", "dense_1", false),
            ("*conv?d*", "a/conv2d_1/Relu", true),
            ("*a*b", "aab", true),
            ("*a*b", "aba", false),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in [
            "dense*=int16x8",
            "op:CONV_2D=w4,per-tensor",
            "node:3=float32",
            "x=weight-only,w4,per-channel",
            "d=w4,blockwise-128",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for (text, expected) in
            [("dense", "no ="), ("a=int9", "got \"int9\""), ("node:x=int8", "expected a number"), ("=int8", "no ops")]
        {
            assert!(text.parse::<Rule>().unwrap_err().to_string().contains(expected), "{text}");
        }
    }
}
