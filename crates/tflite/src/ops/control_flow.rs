//! IF, WHILE, CALL_ONCE, STABLEHLO_COMPOSITE.

use litesmith_graph::ops::{CallOnce, If, StablehloComposite, While};
use litesmith_graph::{Data, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

/// Number of FlexBuffers in `CustomOptionsFormat`, the only one there is.
const FLEXBUFFERS: i8 = 0;

fn graph_index(options: &Options<'_>, field: usize) -> Result<usize> {
    let index = options.scalar(field, 0_i32)?;
    usize::try_from(index).map_err(|_| Error::malformed("", format!("got subgraph {index}")))
}

fn write_graph_index(options: &mut OptionsBuilder<'_>, field: usize, index: usize) -> Result<()> {
    options.positive(field, index, 0, "subgraph").map(|_| ())
}

impl Format for If {
    const OPTIONS: u8 = 92;
    const VERSIONS: &'static [&'static str] = &["1.15.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(2)?;
        Ok(Self { then_graph: graph_index(options, 0)?, else_graph: graph_index(options, 1)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        write_graph_index(options, 0, self.then_graph)?;
        write_graph_index(options, 1, self.else_graph)
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

impl Format for While {
    const OPTIONS: u8 = 93;
    const VERSIONS: &'static [&'static str] = &["1.15.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(2)?;
        Ok(Self { condition_graph: graph_index(options, 0)?, body_graph: graph_index(options, 1)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        write_graph_index(options, 0, self.condition_graph)?;
        write_graph_index(options, 1, self.body_graph)
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

impl Format for CallOnce {
    const OPTIONS: u8 = 103;
    const VERSIONS: &'static [&'static str] = &["2.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(1)?;
        Ok(Self { init_graph: graph_index(options, 0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        write_graph_index(options, 0, self.init_graph)
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

impl Format for StablehloComposite {
    const OPTIONS: u8 = 21;
    const SECOND_UNION: bool = true;
    const VERSIONS: &'static [&'static str] = &["2.17.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(5)?;
        let format = options.scalar(3, FLEXBUFFERS)?;
        if format != FLEXBUFFERS {
            return Err(Error::unsupported("", format!("composite attributes of format {format}")));
        }
        Ok(Self {
            name: options.string(0)?,
            decomposition_graph: graph_index(options, 1)?,
            attributes: Data::from_bytes(options.bytes(2)?),
            version: options.scalar(4, 0)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.string(0, &self.name);
        write_graph_index(options, 1, self.decomposition_graph)?;
        if !self.attributes.is_empty() {
            options.bytes(2, self.attributes.bytes());
        }
        options.scalar(4, self.version, 0);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}
