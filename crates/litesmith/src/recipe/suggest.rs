//! What somebody probably meant.

use litesmith_graph::Error;

/// The known word that is nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 2).max(1);
    let near = known.into_iter().map(|known| (distance(word, known), known));
    near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Letters to change, add or leave out (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, &other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// An error of serde as ours, with a hint.
pub(super) fn explain(place: impl std::fmt::Display, message: &str) -> Error {
    hinted(Error::invalid(place, message))
}

/// The error with the nearest known word as a hint, where it lists what is known: "unknown field `a`, expected one of `b`, `c`".
#[must_use]
pub fn hinted(error: Error) -> Error {
    let message = error.to_string();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((&unknown, known)) if error.hint().is_none() && message.contains("unknown") => {
            match nearest(unknown, known.iter().copied()) {
                Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
                None => error,
            }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["epochs", "batch", "seed"];
        assert_eq!(nearest("epoch", known), Some("epochs"));
        assert_eq!(nearest("bacth", known), Some("batch"));
        assert_eq!(nearest("learning_rate", known), None);
        let error = explain("step 1", "unknown field `epoch`, expected one of `epochs`, `batch`");
        assert_eq!(error.hint(), Some("did you mean \"epochs\"?"));
    }
}
