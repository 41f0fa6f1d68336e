//! What a planned op looks like to the executor.

use std::sync::{Arc, OnceLock};

use bytemuck::Pod;
use litesmith_graph::{Data, Error, Result};
use litesmith_kernels::byte_table::ByteTable;
use litesmith_kernels::quantized_binary::ByteBinary;
use litesmith_kernels::{Activation, Buffer, Context, Then};

use crate::control::Control;
use crate::env::Env;
use crate::rows::Rows;
use crate::runner::Runner;

/// A planned op: sizes checked, weights packed, kernel chosen. It runs without looking at the CPU or allocating, and fails
/// only on data that no plan can foresee, as an index outside its range.
pub(crate) struct Kernel {
    /// As `conv_2d/f32/avx2`.
    pub(crate) name: String,
    /// Scratch that a run needs.
    pub(crate) scratch_bytes: usize,
    /// Size of tables that the plan holds and that no constant of the model stands for.
    pub(crate) plan_bytes: usize,
    /// Nodes before its own whose work it does along.
    pub(crate) along: Vec<usize>,
    /// What makes it part of another kernel.
    pub(crate) part: Part,
    /// The activation that it applies to what it computes.
    pub(crate) fused: Option<FusedActivation>,
    /// The activation that it is, if it is nothing else.
    pub(crate) activation: Option<Activation>,
    /// Inputs over which it can write its output, where nothing else reads them: [`Place::Output`].
    pub(crate) overwrites: &'static [usize],
    /// What its output bytes become, for a [`Part::Producer`].
    then: Option<After>,
    body: Body,
}

/// The activation that a float kernel applies: that of its op or, where it has none, that of the op that follows.
#[derive(Clone, Default)]
pub(crate) struct FusedActivation(Arc<OnceLock<Activation>>);

impl FusedActivation {
    /// That of an op.
    pub(crate) fn new(activation: Activation) -> Self {
        let cell = OnceLock::new();
        if activation != Activation::None {
            let _ = cell.set(activation);
        }
        Self(Arc::new(cell))
    }

    pub(crate) fn get(&self) -> Activation {
        self.0.get().copied().unwrap_or_default()
    }

    /// Applies `activation` from now on; false where there is one already.
    pub(crate) fn take(&self, activation: Activation) -> bool {
        self.0.set(activation).is_ok()
    }
}

/// How a kernel can do the work of others along, or have it done.
pub(crate) enum Part {
    /// Not at all.
    None,
    /// The output is this function of each byte of the first input.
    Function(ByteTable),
    /// The output is this function of the bytes of two operands, where those have one shape.
    Pair(ByteBinary),
    /// It does something with each byte of its output, if it is given that: [`After`].
    Producer,
    /// It computes rows of an image from rows of the image that is its first input.
    Rows(Arc<dyn Rows>),
}

/// What a [`Part::Producer`] does with the bytes that it makes.
pub(crate) enum After {
    /// It looks them up.
    Table(ByteTable),
    /// They are operand `index` of an op, and input `input` is the other one.
    Binary { op: ByteBinary, index: usize, input: usize },
}

enum Body {
    Plain(Box<Plain>),
    Control(Box<Control>),
}

type Plain = dyn Run + Send;

/// What a kernel does. A trait of its own has one entry in its table, where each type behind a `dyn Fn` has three copies of its
/// body there.
trait Run {
    fn run(&self, context: Context<'_>, io: Io<'_>) -> Result<()>;
}

impl<F: Fn(Context<'_>, Io<'_>) -> Result<()>> Run for F {
    fn run(&self, context: Context<'_>, io: Io<'_>) -> Result<()> {
        self(context, io)
    }
}

impl Kernel {
    /// A kernel that needs no scratch.
    pub(crate) fn new(name: String, body: impl Fn(Context<'_>, Io<'_>) -> Result<()> + Send + 'static) -> Self {
        Self::with_body(name, Body::Plain(Box::new(body)))
    }

    /// One that looks each byte of the first input up.
    pub(crate) fn look_up(name: String, table: ByteTable) -> Self {
        let (bytes, part) = (table.bytes(), Part::Function(table.clone()));
        let kernel = Self::new(name, move |context, mut io| {
            let (inputs, y) = io.split();
            table.run(context, inputs.get(0), y);
            Ok(())
        });
        kernel.with_tables(bytes).with_part(part)
    }

    /// What runs other subgraphs or reads and changes variables.
    pub(crate) fn control(name: String, control: Box<Control>) -> Self {
        Self::with_body(name, Body::Control(control))
    }

    fn with_body(name: String, body: Body) -> Self {
        Self {
            name,
            scratch_bytes: 0,
            plan_bytes: 0,
            along: Vec::new(),
            part: Part::None,
            fused: None,
            activation: None,
            overwrites: &[],
            then: None,
            body,
        }
    }

    /// The same, able to write its output over one of these inputs.
    pub(crate) fn overwriting(self, overwrites: &'static [usize]) -> Self {
        Self { overwrites, ..self }
    }

    /// The same with scratch.
    pub(crate) fn with_scratch(self, scratch_bytes: usize) -> Self {
        Self { scratch_bytes, ..self }
    }

    /// The same with tables.
    pub(crate) fn with_tables(self, plan_bytes: usize) -> Self {
        Self { plan_bytes, ..self }
    }

    /// The same, which does the work of these nodes along.
    pub(crate) fn doing(self, along: Vec<usize>) -> Self {
        Self { along, ..self }
    }

    /// The same, which applies this activation.
    pub(crate) fn with_fused(self, fused: &FusedActivation) -> Self {
        Self { fused: Some(fused.clone()), ..self }
    }

    /// The same, which is this activation.
    pub(crate) fn being(self, activation: Option<Activation>) -> Self {
        Self { activation, ..self }
    }

    /// The same as part of others.
    pub(crate) fn with_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Does with its output bytes what stands for `ops`; for a [`Part::Producer`].
    pub(crate) fn then(&mut self, ops: &str, after: After) {
        self.name = format!("{}+{ops}", self.name);
        if let After::Table(table) = &after {
            self.plan_bytes += table.bytes();
        }
        (self.part, self.then) = (Part::None, Some(after));
    }

    pub(crate) fn run(&mut self, env: &mut Env<'_>, io: Io<'_>) -> Result<()> {
        match &mut self.body {
            Body::Plain(body) => {
                let then = self.then.as_ref().map(|after| match after {
                    After::Table(table) => Then::Table(table),
                    After::Binary { op, index, input } => {
                        Then::Binary { op, index: *index, other: io.inputs.get(*input) }
                    }
                });
                body.run(env.context, Io { then, ..io })
            }
            Body::Control(control) => control.run(env, io),
        }
    }

    /// Runs what needs nothing but its inputs.
    pub(crate) fn run_plain(&self, context: Context<'_>, io: Io<'_>) -> Result<()> {
        match &self.body {
            Body::Plain(body) => body.run(context, io),
            Body::Control(_) => Err(Error::invalid("", "an op that runs subgraphs stands inside another")),
        }
    }

    /// The subgraphs that it runs.
    pub(crate) fn runners(&mut self) -> Vec<&mut Runner> {
        match &mut self.body {
            Body::Plain(_) => Vec::new(),
            Body::Control(control) => control.runners(),
        }
    }

    /// The same to look at.
    pub(crate) fn callees(&self) -> Vec<&Runner> {
        match &self.body {
            Body::Plain(_) => Vec::new(),
            Body::Control(control) => control.callees(),
        }
    }
}

/// Where a value lies while a graph runs.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An optional input that is left out, or a tensor that nothing uses.
    Nowhere,
    /// In the constants of the model.
    Constant(Data),
    /// In a slot of the arena: its first `bytes` bytes.
    Slot { slot: usize, bytes: usize },
    /// In the memory of the output of the op that reads it, which replaces it.
    Output,
}

/// Inputs, outputs and scratch of one run of a kernel.
pub(crate) struct Io<'a> {
    pub(crate) inputs: Inputs<'a>,
    pub(crate) outputs: &'a mut [Buffer],
    pub(crate) output_bytes: &'a [usize],
    pub(crate) scratch: &'a mut Buffer,
    /// What becomes of each byte of the output, where the kernel is a [`Part::Producer`].
    pub(crate) then: Option<Then<'a>>,
}

/// Inputs of one run of a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) places: &'a [Place],
    pub(crate) slots: &'a [Buffer],
}

impl<'a> Inputs<'a> {
    /// The elements of input `index`; none where it is left out.
    #[inline]
    pub(crate) fn get<T: Pod>(&self, index: usize) -> &'a [T] {
        match self.places.get(index) {
            Some(Place::Constant(data)) => data.elements().unwrap_or(&[]),
            Some(&Place::Slot { slot, bytes }) => {
                let all = self.slots[slot].as_slice::<T>();
                &all[..(bytes / size_of::<T>()).min(all.len())]
            }
            Some(Place::Nowhere | Place::Output) | None => &[],
        }
    }

    /// The inputs from `first` on.
    pub(crate) fn skip(self, first: usize) -> Self {
        Self { places: self.places.get(first..).unwrap_or_default(), ..self }
    }

    /// Whether input `index` is what the output's memory holds.
    pub(crate) fn is_output(&self, index: usize) -> bool {
        matches!(self.places.get(index), Some(Place::Output))
    }
}

impl Io<'_> {
    /// The inputs and the elements of the first output.
    pub(crate) fn split<T: Pod>(&mut self) -> (Inputs<'_>, &mut [T]) {
        let (inputs, output, _) = self.split_scratch();
        (inputs, output)
    }

    /// The inputs, the elements of the first output, and the scratch memory.
    #[inline]
    pub(crate) fn split_scratch<T: Pod>(&mut self) -> (Inputs<'_>, &mut [T], &mut Buffer) {
        let elements = self.output_bytes[0] / size_of::<T>();
        (self.inputs, &mut self.outputs[0].as_mut_slice::<T>()[..elements], self.scratch)
    }

    /// The inputs, output and states of an op that has `N` of them, and the scratch memory.
    pub(crate) fn split_states<const N: usize>(&mut self) -> Result<(Inputs<'_>, [&mut Buffer; N], &mut Buffer)> {
        let count = self.outputs.len();
        let all: &mut [Buffer; N] = (&mut *self.outputs)
            .try_into()
            .map_err(|_| Error::malformed("", format!("got {count} outputs and states, expected {N}")))?;
        Ok((self.inputs, all.each_mut(), self.scratch))
    }
}
