//! TensorFlow Lite Metadata: a second FlatBuffer, of its own schema (`M001`), in a buffer of the model, and the files
//! that it names, packed as a ZIP archive behind the model.

mod archive;
mod read;
mod write;

pub(crate) use archive::{append, associated_files};
pub(crate) use read::read;
pub(crate) use write::write;

/// Identifier in bytes 4 to 7 of the metadata buffer.
const IDENTIFIER: [u8; 4] = *b"M001";

/// Field numbers of the metadata schema.
mod schema {
    pub(super) mod model {
        pub(in crate::metadata) const NAME: usize = 0;
        pub(in crate::metadata) const DESCRIPTION: usize = 1;
        pub(in crate::metadata) const VERSION: usize = 2;
        pub(in crate::metadata) const SUBGRAPHS: usize = 3;
        pub(in crate::metadata) const AUTHOR: usize = 4;
        pub(in crate::metadata) const LICENSE: usize = 5;
        pub(in crate::metadata) const MIN_PARSER_VERSION: usize = 7;
    }

    pub(super) mod subgraph {
        pub(in crate::metadata) const INPUTS: usize = 2;
        pub(in crate::metadata) const OUTPUTS: usize = 3;
        /// Fields that [`Metadata`](litesmith_graph::Metadata) has no place for.
        pub(in crate::metadata) const OTHERS: [(usize, &str); 5] = [
            (5, "process units of all inputs"),
            (6, "process units of all outputs"),
            (7, "groups of inputs"),
            (8, "groups of outputs"),
            (9, "custom metadata"),
        ];
    }

    pub(super) mod tensor {
        pub(in crate::metadata) const NAME: usize = 0;
        pub(in crate::metadata) const DESCRIPTION: usize = 1;
        pub(in crate::metadata) const CONTENT: usize = 3;
        pub(in crate::metadata) const PROCESS_UNITS: usize = 4;
        pub(in crate::metadata) const STATS: usize = 5;
        pub(in crate::metadata) const ASSOCIATED_FILES: usize = 6;
    }

    /// A member of a union: its kind, then its table.
    pub(super) mod union {
        pub(in crate::metadata) const KIND: usize = 0;
        pub(in crate::metadata) const VALUE: usize = 1;
    }

    pub(super) mod content {
        pub(in crate::metadata) const FEATURE: u8 = 1;
        pub(in crate::metadata) const IMAGE: u8 = 2;
        pub(in crate::metadata) const OTHERS: [(u8, &str); 2] =
            [(3, "bounding box properties"), (4, "audio properties")];
        /// The colour space, in the table of image properties.
        pub(in crate::metadata) const COLOR_SPACE: usize = 0;
    }

    pub(super) mod process_unit {
        pub(in crate::metadata) const NORMALIZATION: u8 = 1;
        pub(in crate::metadata) const OTHERS: [(u8, &str); 5] = [
            (2, "score calibration"),
            (3, "score thresholding"),
            (4, "BERT tokenizer"),
            (5, "SentencePiece tokenizer"),
            (6, "regular expression tokenizer"),
        ];
        pub(in crate::metadata) const MEAN: usize = 0;
        pub(in crate::metadata) const STD: usize = 1;
    }

    pub(super) mod stats {
        pub(in crate::metadata) const MAX: usize = 0;
        pub(in crate::metadata) const MIN: usize = 1;
    }

    pub(super) mod associated_file {
        pub(in crate::metadata) const NAME: usize = 0;
        pub(in crate::metadata) const DESCRIPTION: usize = 1;
        pub(in crate::metadata) const KIND: usize = 2;
        pub(in crate::metadata) const LOCALE: usize = 3;
        /// Names of the indices along the last axis, one a line.
        pub(in crate::metadata) const TENSOR_AXIS_LABELS: i8 = 2;
    }
}
