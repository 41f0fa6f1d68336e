//! Field numbers of the tables in a `.tflite` file (schema version 3).

/// Identifier in bytes 4 to 7 of a `.tflite` file.
pub(crate) const IDENTIFIER: [u8; 4] = *b"TFL3";
/// Version of the schema that this crate reads and writes.
pub(crate) const VERSION: u32 = 3;

pub(crate) mod model {
    pub(crate) const VERSION: usize = 0;
    pub(crate) const OPERATOR_CODES: usize = 1;
    pub(crate) const SUBGRAPHS: usize = 2;
    pub(crate) const DESCRIPTION: usize = 3;
    pub(crate) const BUFFERS: usize = 4;
    pub(crate) const METADATA: usize = 6;
    pub(crate) const SIGNATURE_DEFS: usize = 7;
}

pub(crate) mod operator_code {
    pub(crate) const DEPRECATED_BUILTIN_CODE: usize = 0;
    pub(crate) const CUSTOM_CODE: usize = 1;
    pub(crate) const VERSION: usize = 2;
    pub(crate) const BUILTIN_CODE: usize = 3;

    /// Code of DENSIFY, which makes a sparse constant dense: done when reading.
    pub(crate) const DENSIFY: i32 = 124;
    /// Code of custom operators.
    pub(crate) const CUSTOM: i32 = 32;
    /// What the one-byte field says when the code does not fit it.
    pub(crate) const PLACEHOLDER: i8 = 127;
}

pub(crate) mod subgraph {
    pub(crate) const TENSORS: usize = 0;
    pub(crate) const INPUTS: usize = 1;
    pub(crate) const OUTPUTS: usize = 2;
    pub(crate) const OPERATORS: usize = 3;
    pub(crate) const NAME: usize = 4;
}

pub(crate) mod tensor {
    pub(crate) const SHAPE: usize = 0;
    pub(crate) const TYPE: usize = 1;
    pub(crate) const BUFFER: usize = 2;
    pub(crate) const NAME: usize = 3;
    pub(crate) const QUANTIZATION: usize = 4;
    pub(crate) const IS_VARIABLE: usize = 5;
    pub(crate) const SPARSITY: usize = 6;
    pub(crate) const SHAPE_SIGNATURE: usize = 7;
    pub(crate) const HAS_RANK: usize = 8;
    pub(crate) const VARIANT_TENSORS: usize = 9;
    pub(crate) const EXTERNAL_BUFFER: usize = 10;
}

pub(crate) mod sparsity {
    pub(crate) const TRAVERSAL_ORDER: usize = 0;
    pub(crate) const BLOCK_MAP: usize = 1;
    pub(crate) const DIM_METADATA: usize = 2;
}

pub(crate) mod dimension_metadata {
    pub(crate) const FORMAT: usize = 0;
    pub(crate) const DENSE_SIZE: usize = 1;
    pub(crate) const SEGMENTS_TYPE: usize = 2;
    pub(crate) const SEGMENTS: usize = 3;
    pub(crate) const INDICES_TYPE: usize = 4;
    pub(crate) const INDICES: usize = 5;
}

pub(crate) mod sparse_indices {
    pub(crate) const VALUES: usize = 0;
}

pub(crate) mod quantization {
    pub(crate) const MIN: usize = 0;
    pub(crate) const MAX: usize = 1;
    pub(crate) const SCALE: usize = 2;
    pub(crate) const ZERO_POINT: usize = 3;
    pub(crate) const DETAILS_TYPE: usize = 4;
    pub(crate) const DETAILS: usize = 5;
    pub(crate) const QUANTIZED_DIMENSION: usize = 6;

    /// Type of the details that [`super::blockwise`] describes.
    pub(crate) const BLOCKWISE: u8 = 2;
}

/// `BlockwiseQuantization`. Scales and zero points are indices of tensors; -1 stands for no zero points.
pub(crate) mod blockwise {
    pub(crate) const SCALES: usize = 0;
    pub(crate) const ZERO_POINTS: usize = 1;
    pub(crate) const BLOCK_SIZE: usize = 2;
}

pub(crate) mod operator {
    pub(crate) const OPCODE_INDEX: usize = 0;
    pub(crate) const INPUTS: usize = 1;
    pub(crate) const OUTPUTS: usize = 2;
    pub(crate) const OPTIONS_TYPE: usize = 3;
    pub(crate) const OPTIONS: usize = 4;
    pub(crate) const CUSTOM_OPTIONS: usize = 5;
    pub(crate) const CUSTOM_OPTIONS_FORMAT: usize = 6;
    pub(crate) const INTERMEDIATES: usize = 8;
    pub(crate) const LARGE_CUSTOM_OPTIONS_OFFSET: usize = 9;
    pub(crate) const LARGE_CUSTOM_OPTIONS_SIZE: usize = 10;
    pub(crate) const OPTIONS_2_TYPE: usize = 11;
    pub(crate) const OPTIONS_2: usize = 12;
}

pub(crate) mod buffer {
    pub(crate) const DATA: usize = 0;
    pub(crate) const OFFSET: usize = 1;
    pub(crate) const SIZE: usize = 2;
}

pub(crate) mod metadata {
    pub(crate) const NAME: usize = 0;
    pub(crate) const BUFFER: usize = 1;

    /// Entry that describes inputs and outputs.
    pub(crate) const TFLITE_METADATA: &str = "TFLITE_METADATA";
    /// Entry that names the oldest runtime which knows every op version.
    pub(crate) const MIN_RUNTIME_VERSION: &str = "min_runtime_version";
}

pub(crate) mod signature_def {
    pub(crate) const INPUTS: usize = 0;
    pub(crate) const OUTPUTS: usize = 1;
    pub(crate) const KEY: usize = 2;
    pub(crate) const SUBGRAPH_INDEX: usize = 4;
}

pub(crate) mod tensor_map {
    pub(crate) const NAME: usize = 0;
    pub(crate) const TENSOR_INDEX: usize = 1;
}
