//! What somebody probably meant.

use litesmith_graph::Error;

/// What the command line or people call a key, and the key.
const SYNONYMS: &[(&str, &str)] =
    &[("bn_reestimation", "batch_norm"), ("type", "scheme"), ("bits", "weights"), ("keep_float", "rules")];

/// The known word that is nearest to `word`, if one is near: another word for it, one that is spelled nearly so, or else one that it
/// begins or abbreviates.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<_> = known.into_iter().collect();
    if let Some((_, key)) = SYNONYMS.iter().find(|(synonym, key)| *synonym == word && known.contains(key)) {
        return known.into_iter().find(|known| known == key);
    }
    let allowed = (word.chars().count() / 2).max(1);
    let near = known.iter().map(|known| (distance(word, known), *known));
    let near = near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance);
    near.map(|(_, known)| known)
        .or_else(|| known.iter().copied().find(|known| begins(word, known)))
        .or_else(|| known.into_iter().find(|known| abbreviates(word, known)))
}

/// Whether `known` begins as `word` does, but for its last letter: `equalize` and `equalization`.
fn begins(word: &str, known: &str) -> bool {
    const STEM: usize = 4;
    let stem: String = word.chars().take(word.chars().count().saturating_sub(1)).collect();
    stem.len() >= STEM && known.starts_with(&stem)
}

/// Whether the letters of `word` come in `known`, in order and from the first: `lvl` and `level`.
fn abbreviates(word: &str, known: &str) -> bool {
    let mut letters = known.chars();
    word.len() > 1
        && word.chars().next() == known.chars().next()
        && word.chars().all(|letter| letters.any(|l| l == letter))
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

/// The same for a step, which has the keys `beside` those that the message lists.
pub(super) fn explain_step(step: &str, message: &str, beside: &[&str]) -> Error {
    let more: String = match message.starts_with("unknown field") {
        true => beside.iter().map(|key| format!(", `{key}`")).collect(),
        false => String::new(),
    };
    // serde ends with a line break where it says the place.
    explain(step, &format!("{}{more}", message.trim_end()))
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
