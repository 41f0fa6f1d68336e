//! VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE: values that outlive a run, addressed by name through a resource tensor.

use super::{Inputs, OpSpec};
use crate::{DType, Error, Result};

/// Attributes of VAR_HANDLE, whose output stands for the variable of that name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VarHandle {
    /// Name space of the variable; mostly empty.
    pub container: String,
    /// Name of the variable.
    pub shared_name: String,
}

/// Attributes of READ_VARIABLE (none): the value of the variable that input 0 stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadVariable;

/// Attributes of ASSIGN_VARIABLE (none): input 1 becomes the value of the variable that input 0 stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AssignVariable;

impl OpSpec for VarHandle {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(0..=0)?;
        Ok(vec![Vec::new()])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::Resource
    }
}

impl OpSpec for ReadVariable {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        Err(Error::unsupported("READ_VARIABLE", "its shape is that of the variable, known only when it is run"))
    }
}

impl OpSpec for AssignVariable {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        inputs.get(0, "variable")?;
        inputs.get(1, "value")?;
        Ok(Vec::new())
    }
}
