//! A pool of threads with static work splitting.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads that share the tasks of one call.
///
/// The threads live as long as the pool. Between calls they spin for some tens of microseconds, as the next call is
/// usually near, then sleep. A call allocates nothing.
pub struct Pool {
    team: Option<Team>,
}

struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the call that uses the workers; calls beside it, and calls from within its tasks, run on their own thread.
    busy: Mutex<()>,
}

/// The task of a call and how many there are.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

// SAFETY: the pointee is `Sync`, and `Team::run` keeps it alive until every worker is done with it.
unsafe impl Send for Job {}

struct Shared {
    /// Counts calls; a change is the signal to start.
    call: AtomicUsize,
    /// Workers that have not finished the current call.
    running: AtomicUsize,
    stop: AtomicBool,
    job: Mutex<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Threads that sleep, or are about to, on `wake` or `done`.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    done: Condvar,
    threads: usize,
}

/// Rounds of spinning before sleeping, some tens of microseconds.
const SPINS: usize = 1 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Waits until `ready`: spinning, then on `signal`. Whoever makes it ready calls [`Shared::signal`] afterwards.
    fn wait(&self, signal: &Condvar, ready: impl Fn() -> bool) {
        for _ in 0..SPINS {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.sleep);
        // Sequentially consistent with the signaller's order (state, then sleepers): one of the two sees the other.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = signal.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn signal(&self, signal: &Condvar) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            signal.notify_all();
        }
    }

    /// The part of the job that is thread `thread`'s: contiguous, the same for each call.
    fn work(&self, job: Job, thread: usize) {
        let part = |thread: usize| thread * job.tasks / self.threads;
        // SAFETY: the caller of `Team::run` keeps the task alive until all workers have finished it.
        let task = unsafe { &*job.task };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (part(thread)..part(thread + 1)).for_each(task))) {
            lock(&self.panic).get_or_insert(panic);
        }
    }

    fn worker(&self, thread: usize) {
        let mut seen = 0;
        loop {
            self.wait(&self.wake, || self.call.load(Ordering::SeqCst) != seen);
            seen = seen.wrapping_add(1);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let job = *lock(&self.job);
            if let Some(job) = job {
                self.work(job, thread);
            }
            if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.signal(&self.done);
            }
        }
    }
}

impl Team {
    fn new(threads: usize) -> Option<Self> {
        let mut workers = Vec::new();
        // The workers' parts depend on how many there are, so find that out before they start to count calls.
        let shared = Arc::new(Shared {
            call: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            job: Mutex::new(None),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            done: Condvar::new(),
            threads,
        });
        for thread in 1..threads {
            let shared = Arc::clone(&shared);
            let named = std::thread::Builder::new().name(format!("litesmith-{thread}"));
            match named.spawn(move || shared.worker(thread)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        let team = Self { shared, workers, busy: Mutex::new(()) };
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

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let Ok(_busy) = self.busy.try_lock() else {
            (0..tasks).for_each(task);
            return;
        };
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes, and the job is not used after this function returns: it waits for `running` to
        // reach 0, and nothing between here and there unwinds, as `work` catches panics.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(task)
        };
        let job = Job { task, tasks };
        *lock(&shared.job) = Some(job);
        shared.running.store(self.workers.len(), Ordering::SeqCst);
        shared.call.fetch_add(1, Ordering::SeqCst);
        shared.signal(&shared.wake);
        shared.work(job, 0);
        shared.wait(&shared.done, || shared.running.load(Ordering::SeqCst) == 0);
        *lock(&shared.job) = None;
        let panic = lock(&shared.panic).take();
        if let Some(panic) = panic {
            drop(_busy);
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.call.fetch_add(1, Ordering::SeqCst);
        self.shared.signal(&self.shared.wake);
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
        let len = self.chunk.min(self.len - start);
        // SAFETY: `start + len <= self.len`, parts of different indices do not overlap, and the caller uses each once.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), len) }
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
        self.team.as_ref().map_or(1, |team| team.shared.threads)
    }

    /// Calls `task(0)` to `task(tasks - 1)`, each once, split over the threads, and returns when all are done. A call from
    /// within a task, or while another thread's call is under way, runs on its own thread.
    ///
    /// # Panics
    /// If a task panics, with its panic, after the others are done.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        match &self.team {
            Some(team) if tasks > 1 => team.run(tasks, task),
            _ => (0..tasks).for_each(task),
        }
    }

    /// Splits `data` into chunks of `chunk` elements (the last may be shorter) and calls `task(index, chunk)` for each.
    ///
    /// # Panics
    /// If `chunk` is 0, or a task panics.
    pub fn chunks_mut<T: Send>(&self, data: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
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
