//! The tuning space: what each op may become, and what holds for the whole model.

use litesmith_compress::{
    CalibrationConfig, CalibratorKind, Granularity, QuantizationConfig, Rule, Scheme, Selector, WeightBits,
};
use litesmith_graph::ops::QuantizationRule;
use litesmith_graph::{DType, Error, Graph, Result};

use super::config::{Approach, Float, Wish};
use super::schema::unknown;
use super::{Objective, TuneConfig};

/// What holds for the whole model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Global {
    pub(super) calibrator: CalibratorKind,
    pub(super) samples: usize,
}

/// What an op becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) scheme: Scheme,
    pub(super) granularity: Granularity,
    pub(super) weights: WeightBits,
}

impl Setting {
    const FLOAT: Self =
        Self { scheme: Scheme::Float32, granularity: Granularity::PerChannel, weights: WeightBits::Int8 };
}

/// An op that can be quantized.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) node: usize,
    /// Its type, as `CONV_2D`.
    pub(super) kind: &'static str,
    /// Its first output.
    pub(super) name: String,
    has_weights: bool,
    macs: u64,
    /// The preferred one first; never empty.
    pub(super) settings: Vec<Setting>,
}

impl Op {
    fn is_always_float(&self) -> bool {
        self.settings == [Setting::FLOAT]
    }
}

/// A point of the space: which of the global settings, which setting of each op, and which ops fall back to float32.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    pub(super) global: usize,
    pub(super) settings: Vec<usize>,
    pub(super) float: Vec<bool>,
}

/// What may be tried.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) globals: Vec<Global>,
    pub(super) ops: Vec<Op>,
    /// Settings that all ops are tried with together, the preferred one first.
    whole: Vec<Setting>,
    seed: u64,
    bias_correction: bool,
}

impl Space {
    /// The space of a float model.
    ///
    /// # Errors
    /// [`Error::Invalid`] for names of ops and types of ops that there are not.
    pub(super) fn new(graph: &Graph, config: &TuneConfig) -> Result<Self> {
        let schemes: &[Scheme] = match config.approach {
            Approach::Static => &[Scheme::Int8],
            Approach::Dynamic => &[Scheme::DynamicRange],
            Approach::Auto => &[Scheme::Int8, Scheme::DynamicRange],
        };
        let is_tunable = |node: usize| {
            let node = &graph.nodes[node];
            let float = node.outputs.first().is_some_and(|&id| graph.tensor(id).dtype == DType::F32);
            let rule = node.op.quantization().rule;
            let weights = matches!(rule, QuantizationRule::Weights { .. });
            let integer =
                matches!(rule, QuantizationRule::Free | QuantizationRule::Join | QuantizationRule::Fixed { .. });
            (float && (weights || integer && schemes.contains(&Scheme::Int8))).then_some(weights)
        };
        let nodes: Vec<_> = (0..graph.nodes.len()).filter_map(|node| Some((node, is_tunable(node)?))).collect();
        let types = types_of(graph, config)?;
        let names = names_of(graph, config)?;
        let first = nodes.iter().position(|(_, weights)| *weights).filter(|_| !config.quantize_first);
        let last = nodes.iter().rposition(|(_, weights)| *weights).filter(|_| !config.quantize_last);
        let mut ops = Vec::with_capacity(nodes.len());
        for (index, &(node, has_weights)) in nodes.iter().enumerate() {
            let kind = graph.nodes[node].op.name();
            let mut wish = config.model_wise.clone();
            let of_type = types.iter().filter(|(types, _)| types.contains(&kind)).map(|(_, wish)| *wish);
            let of_name = names.iter().filter(|(nodes, _)| nodes.contains(&node)).map(|(_, wish)| *wish);
            of_type.chain(of_name).for_each(|more| narrow(&mut wish, more));
            if [first, last].contains(&Some(index)) {
                wish.float = Some(Float::Only);
            }
            ops.push(Op {
                node,
                kind,
                name: graph.nodes[node].outputs.first().map_or(String::new(), |&id| graph.tensor(id).name.clone()),
                has_weights,
                macs: graph.cost(node).macs,
                settings: settings(&wish, schemes, has_weights),
            });
        }
        litesmith_compress::check_float(graph)?;
        if ops.iter().all(Op::is_always_float) {
            return Err(Error::invalid("quantization", "the file leaves no op of the model to quantize")
                .with_hint("let dtype be int8 for some ops"));
        }
        let mut whole = settings(&config.model_wise, schemes, true);
        whole.retain(|setting| setting.scheme != Scheme::Float32);
        if whole.is_empty() {
            whole = settings(&Wish::default(), schemes, true);
        }
        let one_or_all = |calibrators: &[CalibratorKind]| -> Vec<CalibratorKind> {
            match (schemes.contains(&Scheme::Int8), calibrators) {
                (false, _) => vec![CalibratorKind::MinMax],
                (true, []) => vec![CalibratorKind::MinMax, CalibratorKind::Kl],
                (true, some) => some.to_vec(),
            }
        };
        let samples = match schemes.contains(&Scheme::Int8) || config.bias_correction {
            true => config.sampling_sizes.as_slice(),
            // Nothing looks at them.
            false => &config.sampling_sizes[..1],
        };
        let globals = samples.iter().flat_map(|&samples| {
            let calibrators = one_or_all(&config.model_wise.calibrators);
            calibrators.into_iter().map(move |calibrator| Global { calibrator, samples })
        });
        let globals = globals.collect();
        Ok(Self { globals, ops, whole, seed: config.seed, bias_correction: config.bias_correction })
    }

    /// How many choices each dimension has: the global settings, then each op.
    pub(super) fn dimensions(&self) -> Vec<usize> {
        std::iter::once(self.globals.len()).chain(self.ops.iter().map(|op| op.settings.len())).collect()
    }

    /// The point with these choices, in the order of [`Space::dimensions`].
    pub(super) fn candidate(&self, choices: &[usize]) -> Candidate {
        Candidate { global: choices[0], settings: choices[1..].to_vec(), float: vec![false; self.ops.len()] }
    }

    /// All ops with like settings, for every setting of the model as a whole; the preferred one first.
    pub(super) fn model_wise(&self) -> Vec<Candidate> {
        let mut all = Vec::new();
        for &setting in &self.whole {
            for global in 0..self.globals.len() {
                // Ranges play no part in dynamic range: one calibrator is as good as the other.
                if global > 0 && setting.scheme == Scheme::DynamicRange && !self.bias_correction {
                    continue;
                }
                let settings = self.ops.iter().map(|op| op.nearest(setting)).collect();
                let candidate = Candidate { global, settings, float: vec![false; self.ops.len()] };
                if !all.contains(&candidate) {
                    all.push(candidate);
                }
            }
        }
        all
    }

    /// The types of the ops, each once, in the order of the graph.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        for op in &self.ops {
            if !kinds.contains(&op.kind) {
                kinds.push(op.kind);
            }
        }
        kinds
    }

    /// `base` with every op of type `kind` set as near to each setting of the model as it goes, without repetitions.
    pub(super) fn type_wise(&self, base: &Candidate, kind: &str) -> Vec<Candidate> {
        let mut all = Vec::new();
        for &setting in &self.whole {
            let mut candidate = base.clone();
            for (index, op) in self.ops.iter().enumerate().filter(|(_, op)| op.kind == kind) {
                candidate.settings[index] = op.nearest(setting);
            }
            if candidate != *base && !all.contains(&candidate) {
                all.push(candidate);
            }
        }
        all
    }

    /// Ops that can fall back from `base`: those with weights first, where most is lost, each part in the order of the graph.
    pub(super) fn fallible(&self, base: &Candidate) -> Vec<usize> {
        let quantized = |&index: &usize| {
            let op = &self.ops[index];
            // Without weights there is nothing in dynamic range that could fall back.
            let scheme = op.settings[base.settings[index]].scheme;
            !base.float[index] && (scheme == Scheme::Int8 || scheme == Scheme::DynamicRange && op.has_weights)
        };
        let mut all: Vec<_> = (0..self.ops.len()).filter(quantized).collect();
        all.sort_by_key(|&index| !self.ops[index].has_weights);
        all
    }

    fn setting(&self, candidate: &Candidate, op: usize) -> Setting {
        match candidate.float[op] {
            true => Setting::FLOAT,
            false => self.ops[op].settings[candidate.settings[op]],
        }
    }

    /// What quantizes a model so.
    pub(super) fn quantization(&self, graph: &Graph, candidate: &Candidate) -> QuantizationConfig {
        let global = self.globals[candidate.global];
        let mut config = QuantizationConfig {
            scheme: Scheme::Float32,
            calibration: CalibrationConfig {
                calibrator: global.calibrator,
                samples: global.samples,
                seed: self.seed,
                ..CalibrationConfig::default()
            },
            bias_correction: Some(self.bias_correction),
            ..QuantizationConfig::default()
        };
        let settings: Vec<_> = (0..self.ops.len()).map(|op| self.setting(candidate, op)).collect();
        let Some(base) = most_frequent(self.ops.iter().zip(&settings)) else { return config };
        (config.scheme, config.granularity, config.weights) = (base.scheme, base.granularity, base.weights);
        let mut schemes = vec![None; graph.nodes.len()];
        for (op, setting) in self.ops.iter().zip(&settings) {
            schemes[op.node] = Some(setting.scheme);
            let quantized = op.has_weights && setting.scheme != Scheme::Float32;
            let rule = Rule {
                ops: Selector::Node(op.node),
                scheme: (setting.scheme != base.scheme).then_some(setting.scheme),
                weights: (quantized && setting.weights != base.weights).then_some(setting.weights),
                granularity: (quantized && setting.granularity != base.granularity).then_some(setting.granularity),
            };
            if rule.scheme.is_some() || rule.weights.is_some() || rule.granularity.is_some() {
                config.rules.push(rule);
            }
        }
        if base.scheme == Scheme::Int8 {
            config.rules.extend(movers_of_floats(graph, &schemes).into_iter().map(Rule::keep_float));
        }
        config
    }

    /// What quantizes op `op` alone as it is in `candidate`, the others staying float32.
    pub(super) fn alone(&self, graph: &Graph, candidate: &Candidate, op: usize) -> QuantizationConfig {
        let mut candidate = candidate.clone();
        candidate.float.iter_mut().enumerate().for_each(|(index, float)| *float = index != op);
        let mut config = self.quantization(graph, &candidate);
        // The one op is the rule, not the rest.
        let setting = self.setting(&candidate, op);
        config.scheme = Scheme::Float32;
        config.rules = vec![Rule {
            ops: Selector::Node(self.ops[op].node),
            scheme: Some(setting.scheme),
            weights: self.ops[op].has_weights.then_some(setting.weights),
            granularity: self.ops[op].has_weights.then_some(setting.granularity),
        }];
        config
    }

    /// What the objective counts, the smaller the better.
    pub(super) fn cost(&self, candidate: &Candidate, objective: Objective, bytes: u64) -> u64 {
        match objective {
            Objective::ModelSize => bytes,
            Objective::Performance => {
                let float = (0..self.ops.len()).filter(|&op| self.setting(candidate, op).scheme == Scheme::Float32);
                float.map(|op| self.ops[op].macs).sum()
            }
        }
    }

    /// Ops that compute in float32 although they could be quantized, as `CONV_2D "name"`.
    pub(super) fn float_ops(&self, candidate: &Candidate) -> Vec<String> {
        let float = (0..self.ops.len()).filter(|&op| self.setting(candidate, op).scheme == Scheme::Float32);
        float.map(|op| format!("{} \"{}\"", self.ops[op].kind, self.ops[op].name)).collect()
    }

    /// The candidate in a few words, its float ops left out.
    pub(super) fn describe(&self, candidate: &Candidate) -> String {
        let settings: Vec<_> = (0..self.ops.len()).map(|op| self.setting(candidate, op)).collect();
        let Some(base) = most_frequent(self.ops.iter().zip(&settings)) else { return "float32".into() };
        let mut words = vec![base.scheme.to_string()];
        if base.weights == WeightBits::Int4 {
            words.push("w4".into());
        }
        words.push(base.granularity.keyword().into());
        let global = self.globals[candidate.global];
        if settings.iter().any(|setting| setting.scheme == Scheme::Int8) {
            words.push(format!("{} {}", global.calibrator, global.samples));
        }
        let differs = |(op, setting): &(&Op, &Setting)| {
            setting.scheme != Scheme::Float32 && (setting.scheme != base.scheme || op.has_weights && **setting != base)
        };
        match self.ops.iter().zip(&settings).filter(differs).collect::<Vec<_>>().as_slice() {
            [] => {}
            [(op, _)] => words.push(format!("{} \"{}\" otherwise", op.kind, op.name)),
            ops => words.push(format!("{} ops otherwise", ops.len())),
        }
        words.join(", ")
    }
}

impl Op {
    /// The setting most like `wanted`: of the same scheme and weights if there is, of the same scheme, or the first.
    fn nearest(&self, wanted: Setting) -> usize {
        let likeness = |setting: &Setting| {
            (
                setting.scheme == wanted.scheme,
                setting.weights == wanted.weights,
                setting.granularity == wanted.granularity,
            )
        };
        // The first of the best.
        let best = self.settings.iter().map(likeness).max();
        self.settings.iter().position(|setting| Some(likeness(setting)) == best).unwrap_or(0)
    }
}

/// The setting that most ops with weights have, the first among equals; that of the others where none has weights.
fn most_frequent<'a>(settings: impl Iterator<Item = (&'a Op, &'a Setting)> + Clone) -> Option<Setting> {
    for weights in [true, false] {
        let mut counts: Vec<(Setting, usize)> = Vec::new();
        let quantized =
            settings.clone().filter(|(op, setting)| op.has_weights == weights && setting.scheme != Scheme::Float32);
        for (_, setting) in quantized {
            match counts.iter_mut().find(|(known, _)| known == setting) {
                Some((_, count)) => *count += 1,
                None => counts.push((*setting, 1)),
            }
        }
        let most = counts.iter().map(|(_, count)| *count).max();
        if let Some((setting, _)) = counts.iter().find(|(_, count)| Some(*count) == most) {
            return Some(*setting);
        }
    }
    None
}

/// Ops that only move elements which a float op computed, or that only a float op reads: in integers they would lose what the
/// float op is to keep.
fn movers_of_floats(graph: &Graph, schemes: &[Option<Scheme>]) -> Vec<Selector> {
    let mut is_float: Vec<bool> = schemes.iter().map(|scheme| *scheme == Some(Scheme::Float32)).collect();
    let moves = |node: usize| graph.nodes[node].op.quantization().rule == QuantizationRule::SameScale;
    let producer = |node: usize| graph.nodes[node].inputs.first().copied().flatten().and_then(|id| graph.producer(id));
    for node in (0..graph.nodes.len()).filter(|&node| moves(node)) {
        is_float[node] = producer(node).is_some_and(|producer| is_float[producer]);
    }
    for node in (0..graph.nodes.len()).rev().filter(|&node| moves(node)) {
        let consumers = graph.nodes[node].outputs.first().map(|&id| graph.consumers(id)).unwrap_or_default();
        let from_input = producer(node).is_none_or(|producer| is_float[producer]);
        is_float[node] |= from_input && !consumers.is_empty() && consumers.iter().all(|&node| is_float[node]);
    }
    (0..graph.nodes.len()).filter(|&node| moves(node) && is_float[node]).map(Selector::Node).collect()
}

/// What the wish allows an op, the preferred setting first.
fn settings(wish: &Wish, schemes: &[Scheme], has_weights: bool) -> Vec<Setting> {
    if wish.float == Some(Float::Only) {
        return vec![Setting::FLOAT];
    }
    let granularities: &[_] = match (has_weights, wish.granularity.as_slice()) {
        (false, _) => &[Granularity::PerChannel],
        (true, []) => &[Granularity::PerChannel, Granularity::PerTensor],
        (true, some) => some,
    };
    let bits: &[_] = match (has_weights, wish.bits.as_slice()) {
        (false, _) | (true, []) => &[WeightBits::Int8],
        (true, some) => some,
    };
    let mut settings = Vec::new();
    for &scheme in schemes {
        for &weights in bits {
            settings.extend(granularities.iter().map(|&granularity| Setting { scheme, granularity, weights }));
        }
    }
    if wish.float == Some(Float::Listed) {
        settings.push(Setting::FLOAT);
    }
    settings
}

/// What `more` says counts before what `wish` says.
fn narrow(wish: &mut Wish, more: &Wish) {
    wish.float = more.float.or(wish.float);
    if !more.granularity.is_empty() {
        wish.granularity.clone_from(&more.granularity);
    }
    if !more.bits.is_empty() {
        wish.bits.clone_from(&more.bits);
    }
}

/// Types of ops as other frameworks call them, and as TensorFlow Lite does.
const TYPES: [(&str, &[&str]); 24] = [
    ("Conv2D", &["CONV_2D"]),
    ("Conv2d", &["CONV_2D"]),
    ("Conv", &["CONV_2D", "DEPTHWISE_CONV_2D"]),
    ("DepthwiseConv2dNative", &["DEPTHWISE_CONV_2D"]),
    ("DepthwiseConv2D", &["DEPTHWISE_CONV_2D"]),
    ("Conv2DBackpropInput", &["TRANSPOSE_CONV"]),
    ("MatMul", &["FULLY_CONNECTED"]),
    ("BatchMatMul", &["BATCH_MATMUL"]),
    ("Gemm", &["FULLY_CONNECTED"]),
    ("Linear", &["FULLY_CONNECTED"]),
    ("FullyConnected", &["FULLY_CONNECTED"]),
    ("MaxPool", &["MAX_POOL_2D"]),
    ("MaxPool2d", &["MAX_POOL_2D"]),
    ("AvgPool", &["AVERAGE_POOL_2D"]),
    ("AveragePool", &["AVERAGE_POOL_2D"]),
    ("AvgPool2d", &["AVERAGE_POOL_2D"]),
    ("ConcatV2", &["CONCATENATION"]),
    ("Concat", &["CONCATENATION"]),
    ("Add", &["ADD"]),
    ("AddV2", &["ADD"]),
    ("Mul", &["MUL"]),
    ("Relu", &["RELU"]),
    ("Softmax", &["SOFTMAX"]),
    ("Mean", &["MEAN"]),
];

fn types_of<'a>(graph: &Graph, config: &'a TuneConfig) -> Result<Vec<(Vec<&'static str>, &'a Wish)>> {
    let own: Vec<_> = graph.nodes.iter().map(|node| node.op.name()).collect();
    config
        .optype_wise
        .iter()
        .map(|(name, wish)| {
            let known = TYPES.iter().find(|(known, _)| known == name).map(|(_, types)| types.to_vec());
            let known = known.or_else(|| own.iter().find(|own| *own == name).map(|own| vec![*own]));
            known.map(|types| (types, wish)).ok_or_else(|| {
                let mut names = own.clone();
                names.extend(TYPES.iter().map(|(name, _)| *name));
                names.dedup();
                unknown(&format!("quantization.optype_wise.{name}"), "type of op", name, &names)
            })
        })
        .collect()
}

/// The nodes that each entry of `op_wise` names: by output, or as a rule of `litesmith quantize` selects them.
fn names_of<'a>(graph: &Graph, config: &'a TuneConfig) -> Result<Vec<(Vec<usize>, &'a Wish)>> {
    let names: Vec<_> = (graph.nodes.iter())
        .map(|node| node.outputs.first().map_or("", |&id| graph.tensor(id).name.as_str()))
        .collect();
    config
        .op_wise
        .iter()
        .map(|(name, wish)| {
            let exact: Vec<_> = (0..names.len()).filter(|&node| names[node] == name).collect();
            let selector: Selector = name.parse()?;
            let nodes = match exact.is_empty() {
                true => (0..names.len()).filter(|&node| selector.selects(graph, node)).collect(),
                false => exact,
            };
            match nodes.is_empty() {
                true => Err(unknown(&format!("quantization.op_wise.{name}"), "op of the model", name, &names)),
                false => Ok((nodes, wish)),
            }
        })
        .collect()
}
