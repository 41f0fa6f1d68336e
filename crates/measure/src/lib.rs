//! Metrics, timing, model summaries and reports: JSON first, text and HTML from it.
//!
//! Everything here is a value that serialises with serde; the text and HTML renderings are pure functions of it and are
//! returned as strings, never printed.
//!
//! ```
//! use litesmith_measure::Evaluation;
//!
//! let mut evaluation = Evaluation::new(["cat", "dog"])?;
//! evaluation.add(&[0.9, 0.1], 0)?;
//! evaluation.add(&[0.6, 0.4], 1)?;
//! let metrics = evaluation.finish();
//! assert_eq!(metrics.accuracy, 0.5);
//! assert_eq!(metrics.wrong[0].predicted, Some(0));
//! # Ok::<(), litesmith_graph::Error>(())
//! ```
//!
//! A [`Report`] is what `report.json` holds, and `report.html` is rendered from it alone:
//!
//! ```
//! use litesmith_measure::{Evaluation, EvaluationReport, Report, render_html};
//!
//! let mut evaluation = Evaluation::new(["cat", "dog"])?;
//! evaluation.add(&[0.9, 0.1], 1)?;
//! let evaluation = EvaluationReport::new("int8", "my pictures", "picture", evaluation.finish());
//! let report = Report { title: "Cats and dogs".into(), evaluations: vec![evaluation], ..Report::default() };
//! let again = Report::read_json(&report.write_json()?)?;
//! assert_eq!(render_html(&again), render_html(&report));
//! # Ok::<(), litesmith_graph::Error>(())
//! ```
#![forbid(unsafe_code)]

mod agreement;
pub mod format;
mod html;
mod inspect;
mod layer_error;
mod machine;
mod metrics;
mod picture;
mod report;
mod summary;
mod table;
mod timing;

pub use agreement::{Agreement, AgreementMetrics};
pub use html::{layer_error_html, render_html};
pub use inspect::{inspection_html, inspection_json, inspection_text};
pub use layer_error::{
    Accuracy, Bins, Cause, ErrorMetrics, ErrorTally, Grid, GridTally, GridUse, KeptFloatResult, LayerError,
    LayerErrorReport, Suggestion, WeightsError,
};
pub use machine::{Machine, peak_rss_bytes};
pub use metrics::{
    Average, ClassMetrics, Confusion, Evaluation, Metrics, TopK, WrongSample, argmax, wilson_interval_95,
};
pub use picture::Picture;
pub use report::{
    Comparison, EpochRecord, EvaluationReport, Fact, ModelKind, ModelResult, Report, Training, WrongPicture,
};
pub use summary::{LayerSummary, ModelSummary};
pub use table::{Align, TextTable};
pub use timing::{Stopwatch, Timing, TimingOptions, time, time_in_turns};
