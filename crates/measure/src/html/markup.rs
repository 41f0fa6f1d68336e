//! Writes HTML and SVG that is well-formed and escaped by construction: elements nest as closures, and every text and
//! attribute value passes through [`escape`].

use std::fmt::Write as _;

/// A document under construction.
#[derive(Default)]
pub(crate) struct Markup {
    out: String,
}

/// Units that [`crate::format`] writes, in the sizes that occur.
const UNITS: [&str; 13] = ["%", "B", "kB", "MB", "GB", "k", "M", "G", "ns", "µs", "ms", "s", "min"];

/// Attribute names and values.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Markup {
    /// The document.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// An element with what `inner` writes between its tags.
    pub(crate) fn el(&mut self, tag: &str, attributes: Attributes<'_>, inner: impl FnOnce(&mut Self)) {
        self.open(tag, attributes);
        self.out.push('>');
        inner(self);
        self.close(tag);
    }

    /// An element that holds text.
    pub(crate) fn leaf(&mut self, tag: &str, attributes: Attributes<'_>, text: &str) {
        self.el(tag, attributes, |m| m.text(text));
    }

    /// An element without content.
    pub(crate) fn void(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.open(tag, attributes);
        self.out.push_str("/>");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    /// A sentence of this crate, escaped; a number stays on one line with its unit.
    pub(crate) fn prose(&mut self, text: &str) {
        let mut words = text.split(' ').peekable();
        while let Some(word) = words.next() {
            self.text(word);
            let Some(next) = words.peek() else { break };
            let unit = next.trim_end_matches(|c: char| c.is_ascii_punctuation() && c != '%');
            let bound = word.ends_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit);
            self.out.push(if bound { '\u{a0}' } else { ' ' });
        }
    }

    /// Text from the outside, as a class name: escaped, and kept from turning the direction of what surrounds it.
    pub(crate) fn name(&mut self, name: &str) {
        self.leaf("bdi", &[], name);
    }

    /// Text of this crate, as it is.
    pub(crate) fn raw(&mut self, text: &'static str) {
        self.out.push_str(text);
    }

    fn open(&mut self, tag: &str, attributes: Attributes<'_>) {
        // Lines keep the file readable and diffable; within a line of text white space would show.
        if matches!(tag, "section" | "table" | "tr" | "figure" | "svg" | "g" | "h2" | "h3" | "p" | "div" | "details") {
            self.out.push('\n');
        }
        let _ = write!(self.out, "<{tag}");
        for (name, value) in attributes {
            let _ = write!(self.out, " {name}=\"");
            escape(value, &mut self.out);
            self.out.push('"');
        }
    }

    fn close(&mut self, tag: &str) {
        let _ = write!(self.out, "</{tag}>");
    }
}

/// Escapes text for element content and quoted attributes.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c => out.push(crate::format::harmless(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_unit() {
        let mut m = Markup::default();
        m.prose("a 1.69 MB, 5 % <b> 3 images ");
        assert_eq!(m.finish(), "a 1.69\u{a0}MB, 5\u{a0}% &lt;b&gt; 3 images ");
    }

    #[test]
    fn text_and_attributes_are_escaped() {
        let mut m = Markup::default();
        m.el("i", &[("title", "\"><script>"), ("alt", "'&\0")], |m| m.leaf("b", &[], "</b><script>\u{1b}"));
        m.void("br", &[]);
        assert_eq!(
            m.finish(),
            "<i title=\"&quot;&gt;&lt;script&gt;\" alt=\"&#39;&amp;\u{fffd}\"><b>&lt;/b&gt;&lt;script&gt;\u{fffd}</b></i><br/>"
        );
    }
}
