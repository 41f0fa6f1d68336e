//! YAML as a tree, bounded: a hostile file costs an error, not the machine.

use std::collections::BTreeMap;

use litesmith_graph::{Error, Result};
use saphyr_parser::{Event, Parser, ScalarStyle};

/// Values in a file at most, those that an alias repeats included: what a billion laughs would exceed.
const VALUES_MAX: usize = 20_000;
/// Lists and mappings in each other at most.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Nothing after the colon.
    Null,
    /// As it stands; what it means decides who asks.
    Scalar(String),
    List(Vec<Value>),
    /// In the order of the file; no key comes twice.
    Map(Vec<(String, Value)>),
}

/// A list or mapping that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<String>,
    kind: Kind,
}

/// The one document of `text`.
///
/// # Errors
/// [`Error::Malformed`] with the line for what is no YAML, a key that comes twice or that is no text, a second document;
/// [`Error::Limit`] beyond 20,000 values or 32 levels.
pub(super) fn parse(text: &str) -> Result<Value> {
    read(text).or_else(|error| read(&indented(text)).map_err(|_| error))
}

/// `text` with the lines inside of brackets and braces indented far: blanks there mean nothing, but YAML wants more of them than
/// before the key, which the parser insists on. PyYAML does not, and files of Neural Compressor close a brace below its key.
fn indented(text: &str) -> String {
    const DEEP: usize = 64;
    let mut result = String::with_capacity(text.len());
    let (mut depth, mut quote) = (0_usize, None);
    // The indentation of the line above a text that is kept as it stands, behind | or >.
    let mut kept_below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if kept_below.is_some_and(|least| indentation > least || line.trim().is_empty()) {
            result.push_str(line);
            continue;
        }
        kept_below = None;
        if depth > 0 {
            result.extend(std::iter::repeat_n(' ', DEEP));
        }
        result.push_str(line);
        // Whether a value may begin here, and what stands before.
        let (mut begins, mut before) = (true, ' ');
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            match (quote, letter) {
                (Some('"'), '\\') => drop(letters.next()),
                // Two of them are one that is meant.
                (Some('\''), '\'') if letters.peek() == Some(&'\'') => drop(letters.next()),
                (Some(open), _) if letter == open => (quote, begins) = (None, false),
                (Some(_), _) => {}
                (None, '#') if before.is_whitespace() => break,
                (None, '"' | '\'') if begins => quote = Some(letter),
                (None, '[' | '{') if begins || depth > 0 => (depth, begins) = (depth + 1, true),
                (None, ']' | '}') if depth > 0 => (depth, begins) = (depth - 1, false),
                (None, '|' | '>') if begins && depth == 0 => kept_below = Some(indentation),
                (None, ',' | ':') if depth > 0 => begins = true,
                (None, letter) if letter.is_whitespace() => begins |= matches!(before, ':' | '-' | '?'),
                (None, _) => begins = false,
            }
            before = letter;
        }
    }
    result
}

fn read(text: &str) -> Result<Value> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, (Value, usize)> = BTreeMap::new();
    let mut document = None;
    let mut values = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| malformed(error.marker().line(), format!("it is no YAML: {}", error.info())))?;
        let line = span.start.line();
        let (value, anchor) = match event {
            Event::SequenceStart(anchor, _) => {
                enter(&mut open, line, anchor, Kind::List(Vec::new()))?;
                continue;
            }
            Event::MappingStart(anchor, _) => {
                enter(&mut open, line, anchor, Kind::Map(Vec::new()))?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = open.pop() else { continue };
                (Value { line: done.line, kind: done.kind }, done.anchor)
            }
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar(text.into_owned()) };
                (Value { line, kind }, anchor)
            }
            Event::Alias(anchor) => {
                let (value, size) =
                    anchors.get(&anchor).ok_or_else(|| malformed(line, "an alias stands inside of what it repeats"))?;
                // Before anything is copied.
                values = values.saturating_add(*size);
                check_count(values, line)?;
                (value.clone(), 0)
            }
            Event::DocumentStart(_) if document.is_some() => {
                return Err(malformed(line, "a second document begins, expected one"));
            }
            _ => continue,
        };
        values += 1;
        check_count(values, line)?;
        if anchor != 0 {
            let size = size_of(&value);
            values = values.saturating_add(size);
            check_count(values, line)?;
            anchors.insert(anchor, (value.clone(), size));
        }
        match open.last_mut() {
            None => document = Some(value),
            Some(parent) => place(parent, value)?,
        }
    }
    Ok(document.unwrap_or(Value { line: 1, kind: Kind::Null }))
}

fn enter(open: &mut Vec<Open>, line: usize, anchor: usize, kind: Kind) -> Result<()> {
    if open.len() == DEPTH_MAX {
        return Err(Error::limit(
            format!("line {line}"),
            format!("more than {DEPTH_MAX} levels of lists and mappings"),
        ));
    }
    open.push(Open { line, anchor, key: None, kind });
    Ok(())
}

/// Puts a finished value where it belongs.
fn place(parent: &mut Open, value: Value) -> Result<()> {
    match &mut parent.kind {
        Kind::List(items) => items.push(value),
        Kind::Map(entries) => match parent.key.take() {
            Some(key) => entries.push((key, value)),
            None => {
                let key = match value.kind {
                    Kind::Scalar(key) => key,
                    _ => return Err(malformed(value.line, "a key that is no text")),
                };
                if entries.iter().any(|(other, _)| *other == key) {
                    return Err(malformed(value.line, format!("the key {key} comes twice")));
                }
                parent.key = Some(key);
            }
        },
        Kind::Null | Kind::Scalar(_) => {}
    }
    Ok(())
}

fn check_count(values: usize, line: usize) -> Result<()> {
    if values <= VALUES_MAX {
        return Ok(());
    }
    Err(Error::limit(format!("line {line}"), format!("more than {VALUES_MAX} values, repeated ones included")))
}

fn malformed(line: usize, message: impl std::fmt::Display) -> Error {
    Error::malformed(format!("line {line}"), message)
}

/// Values in a value, itself included. Recursion is bounded by the depth of the document.
fn size_of(value: &Value) -> usize {
    1 + match &value.kind {
        Kind::Null | Kind::Scalar(_) => 0,
        Kind::List(items) => items.iter().map(size_of).sum(),
        Kind::Map(entries) => entries.iter().map(|(_, value)| size_of(value)).sum(),
    }
}

impl Value {
    /// The value of `key`; none for what is no mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Keys and values, none for what is no mapping.
    pub(super) fn entries(&self) -> &[(String, Value)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value at the end of a path of keys, as `tuning.strategy.name`, unless it or one above it is missing or null.
    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(self, |value, key| value.get(key));
        found.filter(|value| value.kind != Kind::Null)
    }

    /// What stands there, in a message.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Scalar(text) => format!("{text:?}"),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_lines() {
        let root = parse("a: 1\nb:\n  c: [x, 'y', {z: \"\"}]\n  d:\n").unwrap();
        assert_eq!(root.at("a").unwrap().kind, Kind::Scalar("1".into()));
        let list = root.at("b.c").unwrap();
        assert_eq!(list.line, 3);
        let Kind::List(items) = &list.kind else { panic!("{list:?}") };
        assert_eq!(items[1].kind, Kind::Scalar("y".into()));
        assert_eq!(items[2].get("z").unwrap().kind, Kind::Scalar(String::new()));
        assert_eq!(root.at("b.d"), None);
        assert_eq!(root.get("b").unwrap().get("d").unwrap().kind, Kind::Null);
        let repeated = parse("a: &x [1, 2]\nb: *x\n").unwrap();
        assert_eq!(repeated.at("a").unwrap().kind, repeated.at("b").unwrap().kind);
        assert_eq!(parse("").unwrap().kind, Kind::Null);
    }

    /// As PyYAML reads it, which Neural Compressor does.
    #[test]
    fn a_brace_may_close_below_its_key() {
        let text = "# {\nop_wise: {\n'b1': {\n  'activation': {'dtype': ['uint8', 'fp32'], # ]\n'x': it's}\n},\n \"a}\": [1,\n2]\n}\nb:\n  c: {\n  }\n  note: |\n    a {\n    b\n  d: x{y\n  e: 'it''s }'\n";
        let root = parse(text).unwrap();
        let list = root.at("op_wise.b1.activation.dtype").unwrap();
        assert_eq!((list.line, list.shown().as_str()), (4, "a list"));
        let scalar = |path: &str| match &root.at(path).unwrap().kind {
            Kind::Scalar(text) => text.clone(),
            kind => panic!("{path}: {kind:?}"),
        };
        assert_eq!(scalar("op_wise.b1.activation.x"), "it's");
        assert_eq!(
            (scalar("b.d"), scalar("b.e"), scalar("b.note")),
            ("x{y".into(), "it's }".into(), "a {\nb\n".into())
        );
        assert!(matches!(&root.at("op_wise").unwrap().get("a}").unwrap().kind, Kind::List(items) if items.len() == 2));
        // What is wrong is told of the file as it is.
        assert!(parse("a: {\n}\n]").unwrap_err().to_string().contains("line"));
    }

    #[test]
    fn hostile_files_are_errors() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let names = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs += &format!("a{level}: &a{level} [{names}]\n");
        }
        for (text, expected) in [
            (laughs, "more than 20000 values"),
            // The parser itself stops at 255, which it may see first.
            ("[".repeat(200), "more than 32 levels"),
            ("[".repeat(100_000), "line 1"),
            ("- ".repeat(5_000), "more than 32 levels"),
            ("a: &a [*a]".into(), "an alias stands inside"),
            ("a: 1\na: 2".into(), "line 2: the key a comes twice"),
            ("a: 1\n---\nb: 2".into(), "a second document"),
            ("a: [1".into(), "it is no YAML"),
            ("? [a]\n: 1".into(), "a key that is no text"),
            ("a: *nowhere".into(), "it is no YAML"),
            (format!("[{}]", "1,".repeat(30_000)), "more than 20000 values"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
