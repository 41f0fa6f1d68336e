//! The command line, run as a user runs it.

mod common;
mod compress;
mod errors;
mod pipeline;
mod readme;
mod reference;
mod tools;
mod tune;
