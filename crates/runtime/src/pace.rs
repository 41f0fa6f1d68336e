//! Whether a short model runs faster on one thread than on several, found by trying.
//!
//! To hand a part of an op to another core takes two to ten messages between them, each of 50 nanoseconds where they share a cache and
//! of half a microsecond where the host of a virtual machine has put them apart, which it may change at any time. So no plan can
//! know from which op on it pays. Results do not depend on it, as they do not on the number of threads.

use std::time::Instant;

use litesmith_kernels::Pool;

/// Runs of each kind in a trial, of which the first, whose data lies in another core's cache, does not count.
const TRIAL: usize = 6;
/// Runs before the first trial.
const WARM_UP: usize = 16;
/// Nanoseconds between two trials at least, and at most, which is where one kind won clearly.
const OFTEN: u64 = 250_000_000;
const SELDOM: u64 = 2_000_000_000;
/// Nanoseconds after which a trial that spoke for one thread is repeated, as another process may have taken the time of the others.
const AGAIN: u64 = 50_000_000;
/// Nanoseconds until threads that slept have found a core each, and between two runs after which they sleep.
const WAKING: u64 = 5_000_000;
const ASLEEP: u64 = 100_000;
/// Nanoseconds of a run from which on several threads are worth it on any machine.
const LONG: u64 = 1_000_000;

static ALONE: Pool = Pool::serial();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Together,
    Alone,
}

enum Phase {
    /// Until the next trial.
    Steady,
    /// Runs on all threads that are left before it, as these were asleep.
    Waking(usize),
    /// Nanoseconds of the runs so far, those on all threads first.
    Trial(usize, [[u64; TRIAL]; 2]),
    /// No trial will come.
    Settled,
}

/// How the runs of one plan are done.
pub(crate) struct Pace {
    kind: Kind,
    /// Whether the last trial spoke for one thread.
    doubts: bool,
    phase: Phase,
    /// Nanoseconds between two trials.
    period: u64,
    /// When the next trial is due, and when the last run began: nanoseconds since the first.
    due: u64,
    last: u64,
    /// Of a run of this kind.
    taken: u64,
    /// When its first run began.
    first: Option<Instant>,
}

impl Pace {
    /// Of a session with `threads` threads.
    pub(crate) fn new(threads: usize) -> Self {
        let phase = if threads > 1 { Phase::Waking(WARM_UP) } else { Phase::Settled };
        Self { kind: Kind::Together, doubts: false, phase, period: OFTEN, due: 0, last: 0, taken: LONG, first: None }
    }

    /// Does a run of `pool`, or of one thread.
    pub(crate) fn run<'a, T>(&mut self, pool: &'a Pool, run: impl FnOnce(&'a Pool) -> T) -> T {
        // A clock is not everywhere where one thread is all there is.
        if matches!(self.phase, Phase::Settled) {
            return run(self.pool(pool));
        }
        let nanoseconds = |since: Instant| u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = nanoseconds(*self.first.get_or_insert_with(Instant::now));
        self.begin(now);
        let begun = matches!(self.phase, Phase::Trial(..)).then(Instant::now);
        let result = run(self.pool(pool));
        self.end(begun.map_or(0, nanoseconds));
        result
    }

    /// The threads of runs as they are now.
    pub(crate) fn pool<'a>(&self, pool: &'a Pool) -> &'a Pool {
        let kind = match self.phase {
            Phase::Waking(_) => Kind::Together,
            Phase::Trial(runs, _) if runs < TRIAL => Kind::Together,
            Phase::Trial(..) => Kind::Alone,
            Phase::Steady | Phase::Settled => self.kind,
        };
        if kind == Kind::Alone { &ALONE } else { pool }
    }

    /// Hears of a run that begins at `now`.
    fn begin(&mut self, now: u64) {
        let idle = now.saturating_sub(std::mem::replace(&mut self.last, now)) > self.taken.saturating_add(ASLEEP);
        if matches!(self.phase, Phase::Steady) && now >= self.due {
            self.phase = if idle || self.kind == Kind::Alone {
                Phase::Waking(runs_of(WAKING, self.taken))
            } else {
                Phase::Trial(0, [[0; TRIAL]; 2])
            };
        }
    }

    /// Whether there was a trial.
    #[cfg(test)]
    pub(crate) fn has_tried(&self) -> bool {
        self.taken != LONG || self.kind == Kind::Alone
    }

    /// Hears how long the run took that began last, where it is part of a trial.
    fn end(&mut self, nanoseconds: u64) {
        match &mut self.phase {
            Phase::Settled | Phase::Steady => {}
            Phase::Waking(0 | 1) => self.phase = Phase::Trial(0, [[0; TRIAL]; 2]),
            Phase::Waking(left) => *left -= 1,
            Phase::Trial(runs, times) => {
                times[*runs / TRIAL][*runs % TRIAL] = nanoseconds;
                *runs += 1;
                let median = |times: &[u64; TRIAL]| {
                    let mut counted = *times;
                    counted[1..].sort_unstable();
                    counted[1 + (TRIAL - 1) / 2]
                };
                if *runs == TRIAL && median(&times[0]) > LONG {
                    (self.kind, self.phase) = (Kind::Together, Phase::Settled);
                } else if *runs == 2 * TRIAL {
                    let [together, alone] = [median(&times[0]), median(&times[1])];
                    self.choose(together, alone);
                }
            }
        }
    }

    fn choose(&mut self, together: u64, alone: u64) {
        // What is nearly as good stays.
        let is_better = |a: u64, b: u64| a.saturating_mul(100) < b.saturating_mul(97);
        let speaks_for_one = match self.kind {
            Kind::Together => is_better(alone, together),
            Kind::Alone => !is_better(together, alone),
        };
        let before = std::mem::replace(&mut self.doubts, speaks_for_one);
        self.kind = if speaks_for_one && before { Kind::Alone } else { Kind::Together };
        let is_clear = together.abs_diff(alone) > together.min(alone) / 4;
        self.period = match before == speaks_for_one {
            false if speaks_for_one => AGAIN,
            true if is_clear => (self.period * 2).clamp(OFTEN, SELDOM),
            _ => OFTEN,
        };
        self.taken = if self.kind == Kind::Alone { alone } else { together };
        (self.phase, self.due) = (Phase::Steady, self.last.saturating_add(self.period));
    }
}

/// Runs in some nanoseconds.
fn runs_of(nanoseconds: u64, run: u64) -> usize {
    usize::try_from(nanoseconds / run.max(1)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `runs` times where a run takes `together` on all threads and `alone` on one; how many were on one.
    fn run(pace: &mut Pace, pool: &Pool, runs: usize, together: u64, alone: u64) -> usize {
        run_after(0, pace, pool, runs, together, alone)
    }

    /// The same after `idle` nanoseconds.
    fn run_after(idle: u64, pace: &mut Pace, pool: &Pool, runs: usize, together: u64, alone: u64) -> usize {
        let (mut counted, mut now) = (0, pace.last + idle);
        for _ in 0..runs {
            pace.begin(now);
            let is_alone = pace.pool(pool).threads() == 1;
            counted += usize::from(is_alone);
            let taken = if is_alone { alone } else { together };
            pace.end(taken);
            now += taken;
        }
        counted
    }

    #[test]
    fn follows_what_is_faster() {
        let (pool, mut pace) = (Pool::new(2), Pace::new(2));
        // Two threads are faster: one is tried now and then.
        let alone = run(&mut pace, &pool, 100_000, 30_000, 50_000);
        assert!((TRIAL..10 * TRIAL).contains(&alone), "{alone}");
        // Then another process takes their time, and goes again.
        let alone = run(&mut pace, &pool, 200_000, 80_000, 50_000);
        assert!(alone > 100_000, "{alone}");
        let alone = run(&mut pace, &pool, 200_000, 30_000, 50_000);
        assert!(alone < 100_000, "{alone}");
        // Nothing ran for seconds, in which the host put the cores apart: two trials show it, each some milliseconds after.
        let alone = run_after(3_000_000_000, &mut pace, &pool, 3_000, 80_000, 50_000);
        assert!(alone > 1_000, "{alone}");
        run_after(3_000_000_000, &mut pace, &pool, 10_000, 30_000, 50_000);
        // What differs by less than a clock can tell stays as it is.
        assert!(run(&mut pace, &pool, 100_000, 50_000, 49_000) < 1000);
    }

    #[test]
    fn long_models_and_single_threads_try_nothing() {
        let (pool, mut pace) = (Pool::new(2), Pace::new(2));
        assert_eq!(run(&mut pace, &pool, 10_000, 2 * LONG, LONG), 0);
        assert!(matches!(pace.phase, Phase::Settled));
        let threads = |pace: &mut Pace| pace.run(&pool, Pool::threads);
        assert_eq!(threads(&mut pace), pool.threads());
        pace.kind = Kind::Alone;
        assert_eq!(threads(&mut pace), 1);
        let mut pace = Pace::new(1);
        run(&mut pace, &pool, 1_000, 10, 10);
        assert!(matches!(pace.phase, Phase::Settled));
    }
}
