//! The error type of every Litesmith library crate, sorted by who must act.

use std::fmt;

/// Result with Litesmith's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, sorted by who must act. Each carries the place, what was got and expected, and often a hint.
///
/// `Display` gives one line, `place: message`; [`Error::hint`] says what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file or the data is broken: whoever made it must act.
    Malformed(Box<Report>),
    /// The input is valid, but Litesmith does not implement it: we must act.
    Unsupported(Box<Report>),
    /// The caller asked for something that makes no sense.
    Invalid(Box<Report>),
    /// A limit that protects the machine was exceeded; it can be raised.
    Limit(Box<Report>),
    /// The operating system refused to read or write.
    Io(Box<Report>, std::io::Error),
}

/// Where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where: a file and offset, an op and its index, an argument. May be empty.
    pub place: String,
    /// What was got and what was expected.
    pub message: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
    /// The input of the node without whose elements it cannot be planned; who has them can try again.
    pub needed_input: Option<usize>,
}

impl Report {
    fn new(place: impl fmt::Display, message: impl fmt::Display) -> Box<Self> {
        Box::new(Self { place: place.to_string(), message: message.to_string(), hint: None, needed_input: None })
    }
}

impl Error {
    /// The file or the data at `place` is broken.
    pub fn malformed(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::Malformed(Report::new(place, message))
    }

    /// What stands at `place` is not implemented.
    pub fn unsupported(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::Unsupported(Report::new(place, message))
    }

    /// The caller's argument or request at `place` makes no sense.
    pub fn invalid(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::Invalid(Report::new(place, message))
    }

    /// A limit was exceeded at `place`.
    pub fn limit(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::Limit(Report::new(place, message))
    }

    /// Reading or writing `place` (a path) failed.
    pub fn io(place: impl fmt::Display, source: std::io::Error) -> Self {
        let report = Report::new(place, &source);
        Self::Io(report, source)
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.report_mut().hint = Some(hint.to_string());
        self
    }

    /// Says that the node could be planned if the elements of its input `index` were known.
    #[must_use]
    pub fn with_needed_input(mut self, index: usize) -> Self {
        self.report_mut().needed_input = Some(index);
        self
    }

    /// The input of the node without whose elements it cannot be planned.
    #[must_use]
    pub fn needed_input(&self) -> Option<usize> {
        self.report().needed_input
    }

    /// Puts `outer` before the place: `op 3: bias` becomes `model.tflite: op 3: bias`.
    #[must_use]
    pub fn at(mut self, outer: impl fmt::Display) -> Self {
        let report = self.report_mut();
        report.place = if report.place.is_empty() { outer.to_string() } else { format!("{outer}: {}", report.place) };
        self
    }

    /// The same without its place, for a caller that names it better.
    #[must_use]
    pub fn without_place(mut self) -> Self {
        self.report_mut().place.clear();
        self
    }

    /// Where, what, and what to do.
    #[must_use]
    pub fn report(&self) -> &Report {
        match self {
            Self::Malformed(r) | Self::Unsupported(r) | Self::Invalid(r) | Self::Limit(r) | Self::Io(r, _) => r,
        }
    }

    /// What the reader can do about it, if known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.report().hint.as_deref()
    }

    fn report_mut(&mut self) -> &mut Report {
        match self {
            Self::Malformed(r) | Self::Unsupported(r) | Self::Invalid(r) | Self::Limit(r) | Self::Io(r, _) => r,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { place, message, .. } = self.report();
        if place.is_empty() { write!(f, "{message}") } else { write!(f, "{place}: {message}") }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_place_and_message_and_the_hint_is_apart() {
        let error = Error::malformed("op 3", "got 2 inputs, expected 3").at("m.tflite").with_hint("convert it again");
        assert_eq!(error.to_string(), "m.tflite: op 3: got 2 inputs, expected 3");
        assert_eq!(error.hint(), Some("convert it again"));
    }
}
