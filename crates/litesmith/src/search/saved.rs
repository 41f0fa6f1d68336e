//! What a search has found so far, as it lies in its folder.

use std::path::PathBuf;

use litesmith_data::Dataset;
use litesmith_graph::{Error, Result};
use litesmith_measure::Timing;
use serde::{Deserialize, Serialize};

use super::{Goal, SearchOptions};
use crate::files::{self, Existing, fnv1a};

const LIST: &str = "search.json";

/// A model that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How it was made, in short.
    pub name: String,
    /// Its file, in the folder of the search.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// Its size under gzip, where that was looked at.
    pub gzip_bytes: Option<u64>,
    /// Its size under zstd, likewise.
    #[serde(default)]
    pub zstd_bytes: Option<u64>,
    /// Validation samples.
    pub samples: u64,
    /// How many of them it gets right.
    pub correct: u64,
    /// Their share.
    pub accuracy: f64,
    /// Median time of one sample.
    pub latency_us: f64,
    /// All that was measured of its time.
    pub timing: Timing,
    /// Seconds that making it took.
    pub seconds: f64,
}

/// What candidates are chosen by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Models made, the one given first.
    pub points: Vec<Point>,
    /// Candidates that could not be made, and why.
    pub failed: Vec<(String, String)>,
}

impl Found {
    /// The point of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// Indices of the points that no other beats in size, accuracy and speed at once, by size.
    #[must_use]
    pub fn front(&self) -> Vec<usize> {
        let beats = |a: &Point, b: &Point| {
            let (not_worse, better) = (
                a.bytes <= b.bytes && a.accuracy >= b.accuracy && a.latency_us <= b.latency_us,
                a.bytes < b.bytes || a.accuracy > b.accuracy || a.latency_us < b.latency_us,
            );
            not_worse && better
        };
        let mut front: Vec<usize> = (0..self.points.len())
            .filter(|&index| !self.points.iter().any(|other| beats(other, &self.points[index])))
            .collect();
        front.sort_by_key(|&index| (self.points[index].bytes, index));
        front
    }

    /// Index of the best point for a goal.
    #[must_use]
    pub fn best(&self, goal: &Goal) -> usize {
        let given = self.points.first().map_or(0.0, |point| point.accuracy);
        let key = |index: &usize| goal.key(&self.points[*index], given);
        (0..self.points.len())
            .min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal))
            .unwrap_or(0)
    }
}

/// The list in the folder.
#[derive(Serialize, Deserialize)]
struct List {
    version: u32,
    /// What must be the same for a search to go on.
    of: Origin,
    #[serde(flatten)]
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Origin {
    data: String,
    model_bytes: u64,
    /// Of the file given: two models are seldom told apart by their size.
    model_fnv1a: u64,
    seed: u64,
    epochs: usize,
    validation: f64,
}

impl Origin {
    /// In what a search of `self` differs from one of `other`, which is asked for.
    fn differs(&self, other: &Self) -> String {
        let pairs = [
            ("data", self.data.clone(), other.data.clone()),
            ("seed", self.seed.to_string(), other.seed.to_string()),
            ("epochs", self.epochs.to_string(), other.epochs.to_string()),
            ("validation share", self.validation.to_string(), other.validation.to_string()),
        ];
        let mut parts: Vec<_> = pairs
            .into_iter()
            .filter(|(_, own, asked)| own != asked)
            .map(|(what, own, asked)| format!("{what} {own}, not {asked}"))
            .collect();
        if (self.model_bytes, self.model_fnv1a) != (other.model_bytes, other.model_fnv1a) {
            parts.push("another model".into());
        }
        format!("it holds a search with {}", parts.join(", and with "))
    }
}

pub(super) struct Saved {
    folder: PathBuf,
    goal: Goal,
    origin: Origin,
    pub(super) found: Found,
}

impl std::ops::Deref for Saved {
    type Target = Found;

    fn deref(&self) -> &Found {
        &self.found
    }
}

impl Saved {
    /// A new search, or the one that the folder holds.
    pub(super) fn open(options: &SearchOptions, original: &[u8], dataset: &Dataset) -> Result<Self> {
        let folder = options.out.clone();
        let origin = Origin {
            data: dataset.name.clone(),
            model_bytes: original.len() as u64,
            model_fnv1a: fnv1a(original),
            seed: options.seed,
            epochs: options.epochs,
            validation: options.validation,
        };
        let path = folder.join(LIST);
        let found = match (path.exists(), options.resume) {
            (false, false) => Found::default(),
            (false, true) => {
                let message = format!("there is no search to go on with: it has no {LIST}");
                return Err(Error::invalid(folder.display(), message)
                    .with_hint("name the folder of the search, or leave --resume out to begin one"));
            }
            (true, false) => {
                return Err(Error::invalid(folder.display(), "the folder holds a search")
                    .with_hint("pass --resume to go on with it, or name another folder"));
            }
            (true, true) => {
                let list: List = serde_json::from_slice(&files::load(&path, 1 << 26)?)
                    .map_err(|error| Error::malformed(path.display(), error))?;
                if list.of != origin {
                    return Err(Error::invalid(path.display(), list.of.differs(&origin))
                        .with_hint("resume with the same model, data, seed, epochs and validation share"));
                }
                list.found
            }
        };
        let this = Self { folder, goal: options.goal, origin, found };
        // The goal may be another one than when the folder was left.
        if !this.found.points.is_empty() {
            this.keep(this.found.best(&this.goal))?;
        }
        Ok(this)
    }

    /// Whether the candidate was tried.
    pub(super) fn has(&self, name: &str) -> bool {
        self.found.get(name).is_some() || self.found.failed.iter().any(|(failed, _)| failed == name)
    }

    /// Saves a model and how it was made, and the list with it.
    pub(super) fn add(&mut self, mut point: Point, bytes: &[u8], recipe: Option<&str>) -> Result<()> {
        let words = point.name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let points = self.folder.join("points");
        std::fs::create_dir_all(&points).map_err(|error| Error::io(points.display(), error))?;
        let stem = format!("points/{:03}-{}", self.found.points.len(), words.collect::<Vec<_>>().join("-"));
        point.file = format!("{stem}.tflite");
        files::save(&self.folder.join(&point.file), bytes, Existing::Replace)?;
        if let Some(recipe) = recipe {
            files::save(&self.folder.join(format!("{stem}.toml")), recipe.as_bytes(), Existing::Replace)?;
        }
        self.found.points.push(point);
        let best = self.found.best(&self.goal);
        if best + 1 == self.found.points.len() {
            self.keep(best)?;
        }
        self.write()
    }

    /// Makes a point the best: its file, and its recipe where it has one.
    fn keep(&self, best: usize) -> Result<()> {
        let from = self.folder.join(&self.found.points[best].file);
        let save = |name: &str, bytes: &[u8]| files::save(&self.folder.join(name), bytes, Existing::Replace);
        save("best.tflite", &files::load(&from, u64::MAX)?)?;
        let (from, to) = (from.with_extension("toml"), self.folder.join("best.toml"));
        if from.exists() {
            save("best.toml", &files::load(&from, 1 << 26)?)
        } else if to.exists() {
            std::fs::remove_file(&to).map_err(|error| Error::io(to.display(), error))
        } else {
            Ok(())
        }
    }

    /// Notes that a candidate could not be made.
    pub(super) fn skip(&mut self, name: &str, error: &Error) -> Result<()> {
        self.found.failed.push((name.into(), error.to_string()));
        self.write()
    }

    fn write(&self) -> Result<()> {
        let list = List { version: 1, of: self.origin.clone(), found: self.found.clone() };
        let mut json = serde_json::to_vec_pretty(&list).map_err(|error| Error::invalid(LIST, error))?;
        json.push(b'\n');
        files::save(&self.folder.join(LIST), &json, Existing::Replace)
    }
}
