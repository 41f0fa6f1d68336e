//! A pool of threads that share the tasks of a call.

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads that share the tasks of one call.
///
/// Each thread begins with its own part of the tasks, the same for each call, so that what it wrote in one op is in its
/// cache in the next; then it takes what others have not begun. The caller never waits for a thread that has not
/// started: a worker that sleeps, or whose core is taken by another process, delays nothing.
///
/// The threads live as long as the pool. Between calls they spin for a fraction of a millisecond, as the next call is
/// usually near, then sleep. A call allocates nothing.
pub struct Pool {
    team: Option<Team>,
}

struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Set by the call that uses the workers; calls beside it, and calls from within its tasks, run on their own thread.
    busy: AtomicBool,
}

/// What a call does. A trait of its own has one entry in its table, where each type behind a `dyn Fn` has three copies of its
/// body there.
trait Tasks: Sync {
    /// Runs task `index` on `thread`.
    fn run(&self, thread: usize, index: usize);
}

impl<F: Fn(usize, usize) + Sync> Tasks for F {
    fn run(&self, thread: usize, index: usize) {
        self(thread, index);
    }
}

type Task<'a> = dyn Tasks + 'a;

/// What a call asks of each of its threads.
#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    /// Whether a part has more than one task, so that another thread may find some that nobody has begun.
    steals: bool,
}

/// A thread's place: its part of the tasks of the call, and whether it has taken it up. On cache lines of its own, as each line that
/// two cores write takes as long to change hands as many an op takes to run: one goes to the worker, and comes back once.
#[repr(align(128))]
struct Seat {
    /// [`IDLE`], then [`READY`] by the caller, then [`RUNNING`] by the worker, then idle again by the worker; or idle by the caller,
    /// which does the work of a worker that has not begun.
    state: AtomicU32,
    /// The tasks of the part that nobody has begun.
    next: AtomicUsize,
    end: AtomicUsize,
    /// Written by the caller while the seat is idle, read by the worker while it runs.
    job: UnsafeCell<Option<Job>>,
}

// SAFETY: the job is written and read in turns that `state` hands over; its task is `Sync` and outlives the call.
unsafe impl Sync for Seat {}
// SAFETY: likewise.
unsafe impl Send for Seat {}

const IDLE: u32 = 0;
const READY: u32 = 1;
const RUNNING: u32 = 2;
const STOP: u32 = 3;

struct Shared {
    /// The caller's, then those of the workers.
    seats: Box<[Seat]>,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Workers that sleep, or are about to.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Work for each thread, in units of what is worth calling it for, from which on it is cut into up to [`PARTS`]: some 15 microseconds,
/// as a part more costs half of one.
pub(crate) const FINE: usize = 16;
const PARTS: usize = 4;

/// Most threads of a pool.
const THREADS_MAX: usize = 1 << 15;
/// Rounds of spinning before sleeping, some hundred microseconds: the time between two calls of one inference. Waking a
/// sleeping thread takes about 50 microseconds on a virtual machine.
const SPINS: usize = 1 << 13;
/// Rounds of spinning before the caller offers its core to the worker that it waits for.
const SPINS_CALLER: usize = 1 << 10;

/// What is worth cutting work for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth {
    /// Work that is worth calling a thread for.
    pub(crate) thread: usize,
    /// How many times as much for each thread is worth cutting finer.
    pub(crate) fine: usize,
    /// Units that a task is not cut below then.
    pub(crate) least: usize,
}

/// [`Pool::share`] of a pool of `threads`.
#[inline]
pub(crate) fn share(threads: usize, units: usize, each: usize, worth: usize) -> usize {
    share_at_most(threads, units, each, Worth { thread: worth, fine: FINE, least: 1 }, usize::MAX)
}

/// The same where a task has at most `most` units.
#[inline]
pub(crate) fn share_at_most(threads: usize, units: usize, each: usize, worth: Worth, most: usize) -> usize {
    let most = most.max(1);
    if threads <= 1 {
        // Without the divisions, which small ops would feel.
        return units.clamp(1, most);
    }
    cut(threads, units, each, worth, most)
}

#[inline(never)]
fn cut(threads: usize, units: usize, each: usize, worth: Worth, most: usize) -> usize {
    let work = units.saturating_mul(each) / worth.thread.max(1);
    let is_fine = work >= worth.fine * threads;
    if !is_fine && units <= most {
        return units.div_ceil(work.clamp(1, threads)).max(1);
    }
    // As many parts as leave no thread waiting for long: of 28 rows four each would be three for one thread and four for the other.
    let fewest = units.div_ceil(most.saturating_mul(threads)).max(1);
    let finest = (units / worth.least.saturating_mul(threads).max(1)).clamp(1, PARTS);
    let parts = fewest..fewest + if is_fine { finest } else { 1 };
    let longest = |per: &usize| units.div_ceil(*per).div_ceil(threads) * per;
    parts.rev().map(|parts| units.div_ceil(parts * threads).max(1)).min_by_key(longest).unwrap_or(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn new() -> Self {
        let (state, next, end) = (AtomicU32::new(IDLE), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { state, next, end, job: UnsafeCell::new(None) }
    }

    /// Runs what nobody has begun.
    fn run(&self, task: &Task<'_>, thread: usize) {
        let end = self.end.load(Ordering::Relaxed);
        // A look first: to take a task is to take the cache line.
        while self.next.load(Ordering::Relaxed) < end {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= end {
                return;
            }
            task.run(thread, index);
        }
    }
}

impl Shared {
    fn threads(&self) -> usize {
        self.seats.len()
    }

    /// Waits until `ready`: spinning, then asleep.
    fn wait(&self, mut ready: impl FnMut() -> bool) {
        for _ in 0..SPINS {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.sleep);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_all(&self) {
        drop(lock(&self.sleep));
        self.wake.notify_all();
    }

    /// Runs the tasks of `thread`'s part, then those that are left in the others'.
    fn work(&self, job: Job, thread: usize) {
        // SAFETY: the caller of `Team::run` keeps the task alive until all seats are idle.
        let task = unsafe { &*job.task };
        let (before, after) = self.seats.split_at(thread);
        let seats = if job.steals { self.seats.len() } else { 1 };
        self.catch(|| after.iter().chain(before).take(seats).for_each(|seat| seat.run(task, thread)));
    }

    fn catch(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            lock(&self.panic).get_or_insert(panic);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    fn worker(&self, thread: usize) {
        let seat = &self.seats[thread];
        loop {
            // It exchanges instead of looking first, as then the line comes once: to look, and then to take it, are two messages.
            let mut seen = Err(IDLE);
            self.wait(|| {
                seen = seat.state.compare_exchange(READY, RUNNING, Ordering::Acquire, Ordering::Relaxed);
                seen != Err(IDLE)
            });
            match seen {
                Ok(_) => {
                    // SAFETY: the caller wrote it before the seat was ready, and does not before it is idle.
                    if let Some(job) = unsafe { *seat.job.get() } {
                        self.work(job, thread);
                    }
                    seat.state.store(IDLE, Ordering::Release);
                }
                Err(STOP) => return,
                Err(_) => {}
            }
        }
    }
}

impl Team {
    fn new(threads: usize) -> Option<Self> {
        let threads = threads.min(THREADS_MAX);
        let mut workers = Vec::new();
        let shared = Arc::new(Shared {
            seats: (0..threads).map(|_| Seat::new()).collect(),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        for thread in 1..threads {
            let shared = Arc::clone(&shared);
            let named = std::thread::Builder::new().name(format!("litesmith-{thread}"));
            match named.spawn(move || shared.worker(thread)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        let team = Self { shared, workers, busy: AtomicBool::new(false) };
        // Where the system gives no more threads (or none at all, as on WebAssembly), work with those it gave.
        match team.workers.len() {
            0 => None,
            given if given + 1 < threads => {
                drop(team);
                Self::new(given + 1)
            }
            _ => Some(team),
        }
    }

    fn run(&self, tasks: usize, task: &Task<'_>) {
        if self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(|index| task.run(0, index));
            return;
        }
        let shared = &*self.shared;
        let (threads, steals) = (shared.threads(), tasks > shared.threads());
        // SAFETY: only the lifetime changes, and the task is not used after this function returns: it waits for all seats to be
        // idle, and nothing between here and there unwinds, as panics of tasks are caught.
        let eternal = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        let job = Job { task: eternal, steals };
        // As many parts as there are tasks, the caller's first.
        let parts = threads.min(tasks);
        let first = |thread: usize| if steals { thread * tasks / threads } else { thread };
        for (thread, seat) in shared.seats.iter().enumerate().take(parts) {
            seat.next.store(first(thread), Ordering::Relaxed);
            seat.end.store(first(thread + 1), Ordering::Relaxed);
            // SAFETY: every seat is idle between calls, and this one is the only one, as `busy` says.
            unsafe { *seat.job.get() = Some(job) };
        }
        let workers = &shared.seats[1..parts.max(1)];
        workers.iter().for_each(|seat| seat.state.store(READY, Ordering::Release));
        // One that falls asleep unseen misses this call only.
        if shared.sleepers.load(Ordering::Relaxed) > 0 {
            shared.wake_all();
        }
        shared.work(job, 0);
        for seat in workers {
            let takes_back = seat.state.compare_exchange(READY, IDLE, Ordering::Relaxed, Ordering::Relaxed);
            if takes_back.is_ok() {
                shared.catch(|| seat.run(task, 0));
            }
        }
        for seat in workers {
            let mut spins = 0;
            while seat.state.load(Ordering::Acquire) != IDLE {
                if spins < SPINS_CALLER {
                    spins += 1;
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
        let mut panic = None;
        if shared.panicked.load(Ordering::Relaxed) {
            shared.panicked.store(false, Ordering::Relaxed);
            panic = lock(&shared.panic).take();
        }
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.seats.iter().for_each(|seat| seat.state.store(STOP, Ordering::SeqCst));
        self.shared.wake_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of tasks, so joining has nothing to report.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// What a task of [`Pool::bands_mut`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Its first element.
    pub first: usize,
    /// The first element of the band that lies before it, where that was what the thread did last.
    pub before: Option<usize>,
}

/// A pointer that tasks on several threads may turn into disjoint slices.
struct Parts<T> {
    base: *mut T,
    len: usize,
    chunk: usize,
}

// SAFETY: only disjoint parts of the slice behind the pointer are handed out, each to one task, and `T` may be sent.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    fn new(data: &mut [T], chunk: usize) -> Self {
        Self { base: data.as_mut_ptr(), len: data.len(), chunk }
    }

    /// Part `index`, empty beyond the end.
    ///
    /// # Safety
    /// The slice must still be borrowed for these parts alone, and `index` must not be in use by anyone else.
    #[expect(clippy::mut_from_ref, reason = "each part is handed out once, as the caller ensures")]
    unsafe fn part(&self, index: usize) -> &mut [T] {
        let start = index.saturating_mul(self.chunk).min(self.len);
        // SAFETY: parts of different indices do not overlap, and the caller uses each once.
        unsafe { self.range(start..start + self.chunk.min(self.len - start)) }
    }

    /// Some elements.
    ///
    /// # Safety
    /// They must be elements of the slice, which must still be borrowed for such ranges alone, and none of them in use by anyone else.
    #[expect(clippy::mut_from_ref, reason = "each range is handed out once, as the caller ensures")]
    unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        debug_assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: the range is within the slice, and in use by the caller alone.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(range.start), range.len()) }
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's included; 0 means 1. Where the system gives fewer, it has fewer.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { team: if threads > 1 { Team::new(threads) } else { None } }
    }

    /// A pool that runs everything on the caller's thread.
    #[must_use]
    pub const fn serial() -> Self {
        Self { team: None }
    }

    /// Threads, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.team.as_ref().map_or(1, |team| team.shared.threads())
    }

    /// How many of `units` of work (rows, pixels, elements) a task should have, where a thread is worth calling for `worth` and a
    /// unit is `each`.
    ///
    /// One part for each thread: ops one after another then split images in the same places, and what a thread reads is mostly
    /// what it wrote, in its own cache. Where handing out does not matter, parts are cut finer, so that a slow core holds up
    /// the others little.
    #[must_use]
    pub fn share(&self, units: usize, each: usize, worth: usize) -> usize {
        share(self.threads(), units, each, worth)
    }

    /// Calls `task(0)` to `task(tasks - 1)`, each once, shared by the threads, and returns when all are done. A call from
    /// within a task, or while another thread's call is under way, runs on its own thread.
    ///
    /// # Panics
    /// If a task panics, with its panic, after the others are done.
    pub fn run(&self, tasks: usize, task: &(impl Fn(usize) + Sync + ?Sized)) {
        self.run_on_threads(tasks, &|_: usize, index: usize| task(index));
    }

    /// The same with the number of the thread, below [`Pool::threads`]: no two tasks of a call that run at the same time have
    /// the same.
    fn run_on_threads(&self, tasks: usize, task: &Task<'_>) {
        match &self.team {
            Some(team) if tasks > 1 => team.run(tasks, task),
            _ => (0..tasks).for_each(|index| task.run(0, index)),
        }
    }

    /// Splits `data` like [`Pool::chunks_mut`], and lends each task `scratch_chunk` elements of `scratch`, which has as many for
    /// each chunk or thread, whichever are fewer: where there are no more threads than chunks those of its thread, which are in its
    /// core's cache.
    ///
    /// # Panics
    /// If `chunk` is 0, `scratch` is too short, or a task panics.
    pub fn chunks_mut_with_scratch<T: Send, S: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        scratch: &mut [S],
        scratch_chunk: usize,
        task: impl Fn(usize, &mut [T], &mut [S]) + Sync,
    ) {
        if self.team.is_none() && !data.is_empty() && data.len() <= chunk && scratch_chunk <= scratch.len() {
            task(0, data, &mut scratch[..scratch_chunk]);
            return;
        }
        let tasks = data.len().div_ceil(chunk);
        let by_thread = self.threads() <= tasks;
        let parts = if by_thread { self.threads() } else { tasks };
        assert!(scratch_chunk.checked_mul(parts).is_some_and(|len| len <= scratch.len()), "scratch for each chunk");
        let (data, scratch) = (Parts::new(data, chunk), Parts::new(scratch, scratch_chunk));
        self.run_on_threads(tasks, &|thread: usize, index: usize| {
            let lent = if by_thread { thread } else { index };
            // SAFETY: both are borrowed until the call returns; it uses each index once, and each thread for one task at a time.
            task(index, unsafe { data.part(index) }, unsafe { scratch.part(lent) });
        });
    }

    /// Splits `data` into a part of `part` elements for each thread, and each part into bands of `band` elements, which its thread
    /// takes in their order, and others take when they have none left. Lends each thread `scratch_len` elements of `scratch`, which has
    /// as many for each; what a band leaves there is there for the next one of the thread.
    ///
    /// # Panics
    /// If `part` or `band` is 0, `scratch` is too short, or a task panics.
    pub fn bands_mut<T: Send, S: Send>(
        &self,
        data: &mut [T],
        [part, band]: [usize; 2],
        scratch: &mut [S],
        scratch_len: usize,
        task: impl Fn(Band, &mut [T], &mut [S]) + Sync,
    ) {
        assert!(
            scratch_len.checked_mul(self.threads()).is_some_and(|len| len <= scratch.len()),
            "scratch for each thread"
        );
        let each = part.div_ceil(band);
        let tasks = data.len() / part * each + (data.len() % part).div_ceil(band);
        // What each thread did last. Those beyond begin each band anew.
        let last = [const { AtomicUsize::new(usize::MAX) }; 64];
        let first = |index: usize| index / each * part + index % each * band;
        let (bands, scratch) = (Parts::new(data, 1), Parts::new(scratch, scratch_len));
        self.run_on_threads(tasks, &|thread: usize, index: usize| {
            let last = last.get(thread).map(|last| last.swap(index, Ordering::Relaxed));
            let before = last.filter(|&last| last.wrapping_add(1) == index && index > 0).map(first);
            let own = first(index)..first(index + 1).min(bands.len);
            // SAFETY: both are borrowed until the call returns; it uses each index once, and each thread for one task at a time.
            let (data, lent) = unsafe { (bands.range(own.clone()), scratch.part(thread)) };
            task(Band { first: own.start, before }, data, lent);
        });
    }

    /// Splits `data` into chunks of `chunk` elements (the last may be shorter) and calls `task(index, chunk)` for each.
    ///
    /// # Panics
    /// If `chunk` is 0, or a task panics.
    pub fn chunks_mut<T: Send>(&self, data: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        if self.team.is_none() && !data.is_empty() && data.len() <= chunk {
            task(0, data);
            return;
        }
        let tasks = data.len().div_ceil(chunk);
        let parts = Parts::new(data, chunk);
        // SAFETY: `data` is borrowed until `run` returns, and `run` uses each index once.
        self.run(tasks, &|index| task(index, unsafe { parts.part(index) }));
    }

    /// Splits `a` like [`Pool::chunks_mut`], and gives each task the chunk of `b` of the same index: `b_chunk` elements, fewer
    /// or none at the end of `b`.
    ///
    /// # Panics
    /// If `a_chunk` is 0, or a task panics.
    pub fn zip_chunks_mut<A: Send, B: Send>(
        &self,
        a: &mut [A],
        a_chunk: usize,
        b: &mut [B],
        b_chunk: usize,
        task: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let tasks = a.len().div_ceil(a_chunk);
        let (a, b) = (Parts::new(a, a_chunk), Parts::new(b, b_chunk));
        // SAFETY: both are borrowed until `run` returns, and `run` uses each index once.
        self.run(tasks, &|index| task(index, unsafe { a.part(index) }, unsafe { b.part(index) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_all_threads_busy() {
        let large = usize::MAX;
        let worth = |thread| Worth { thread, fine: FINE, least: 1 };
        // Rows of images, and the largest share of two threads: half, or the next row.
        for (units, most) in
            [(7, 4), (14, 7), (28, 14), (56, 28), (112, 56), (49, 25), (196, 98), (13, 7), (1, 1), (15, 8)]
        {
            let per = share(2, units, large, 1);
            let tasks = units.div_ceil(per);
            assert!(tasks.div_ceil(2) * per <= most, "{units} units by {per}");
            let limited = share_at_most(2, units, large, worth(1), 3);
            assert!((1..=3).contains(&limited), "{units} units by {limited}");
        }
        // Cut finer, but not below the least, where each thread has that many.
        for (units, least, want) in [(7, 5, 4), (14, 5, 7), (196, 64, 98), (784, 64, 98), (784, 1, 98), (7, 1, 2)] {
            assert_eq!(share_at_most(2, units, large, Worth { least, ..worth(1) }, large), want, "{units}, {least}");
        }
        // Work that is worth no second thread, or one more but not many tasks.
        assert_eq!((share(2, 100, 1, 1000), share(2, 100, 20, 1000), share(1, 100, 1, 1)), (100, 50, 100));
        assert_eq!(
            (share(4, 0, 1, 1), share_at_most(2, 100, 1, worth(1000), 30), share_at_most(1, 100, 1, worth(1), 30)),
            (1, 25, 30)
        );
    }

    #[test]
    fn every_task_runs_once() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 3, 7, 100] {
                for _ in 0..50 {
                    let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(tasks, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.run(10, &|i| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for bad in [0, 9] {
            let caught = catch_unwind(AssertUnwindSafe(|| pool.run(10, &|i| assert!(i != bad, "task {i}"))));
            assert!(caught.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.run(10, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }

    #[test]
    fn nested_and_concurrent_calls_finish() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    pool.run(4, &|_| {
                        pool.run(4, &|_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 48);
    }

    #[test]
    fn bands_cover_the_data_and_know_what_lies_before() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for (len, part, band) in [(0, 6, 2), (1, 6, 4), (60, 20, 8), (56, 28, 10), (57, 15, 15), (9, 40, 3)] {
                let (mut data, mut scratch) = (vec![0_u32; len], vec![usize::MAX; threads * 2]);
                let followed = AtomicUsize::new(0);
                pool.bands_mut(&mut data, [part, band], &mut scratch, 2, |at, data, scratch| {
                    assert!(data.len() <= band && at.first / part == (at.first + data.len() - 1) / part, "{at:?}");
                    // What the thread left there.
                    if let Some(before) = at.before {
                        assert_eq!((before, at.first), (scratch[0], scratch[1]));
                        followed.fetch_add(1, Ordering::Relaxed);
                    }
                    scratch.copy_from_slice(&[at.first, at.first + data.len()]);
                    data.iter_mut().for_each(|count| *count += 1);
                });
                assert!(data.iter().all(|&count| count == 1), "{len} {part} {band}: {data:?}");
                let bands = len / part * part.div_ceil(band) + (len % part).div_ceil(band);
                let followed = followed.into_inner();
                assert!(
                    followed < bands.max(1) && (threads > 1 || followed + 1 == bands.max(1)),
                    "{followed} of {bands}"
                );
            }
        }
    }

    #[test]
    fn no_two_tasks_have_the_same_scratch_at_once() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for tasks in [1, 2, 3, 40] {
                let mut data = vec![0; tasks];
                let mut scratch = vec![0_usize; 2 * tasks];
                pool.chunks_mut_with_scratch(&mut data, 1, &mut scratch, 2, |index, data, scratch| {
                    scratch.fill(index);
                    std::thread::yield_now();
                    data[0] = if scratch == [index; 2] { index + 1 } else { 0 };
                });
                assert!(data.iter().enumerate().all(|(index, &value)| value == index + 1));
            }
        }
    }

    #[test]
    fn chunks_cover_the_slice() {
        let pool = Pool::new(3);
        let mut data = vec![0; 23];
        let mut side = vec![0; 10];
        pool.zip_chunks_mut(&mut data, 5, &mut side, 3, |index, data, side| {
            data.fill(index + 1);
            side.fill(index + 1);
        });
        assert!(data.iter().enumerate().all(|(i, &value)| value == i / 5 + 1));
        assert!(side.iter().enumerate().all(|(i, &value)| value == i / 3 + 1));
        pool.chunks_mut(&mut data, usize::MAX, |_, data| data.fill(7));
        assert_eq!(data, [7; 23]);
    }
}
