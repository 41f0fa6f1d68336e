//! A pool of threads with static work splitting.

/// Threads that share the tasks of one call.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
}

/// A pointer that tasks on several threads may turn into disjoint slices.
struct Shared<T>(*mut T);

// SAFETY: only disjoint parts of the slice behind the pointer are handed out, each to one task, and `T` may be sent.
unsafe impl<T: Send> Sync for Shared<T> {}

impl Pool {
    /// A pool of `threads` threads, the caller's included; 0 means 1.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// A pool that runs everything on the caller's thread.
    #[must_use]
    pub fn serial() -> Self {
        Self::new(1)
    }

    /// Threads, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task(0)` to `task(tasks - 1)`, each once, split over the threads, and returns when all are done.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for thread in 1..self.threads.min(tasks) {
                scope.spawn(move || (thread..tasks).step_by(self.threads).for_each(task));
            }
            (0..tasks).step_by(self.threads).for_each(task);
        });
    }

    /// Splits `data` into chunks of `chunk` elements (the last may be shorter) and calls `task(index, chunk)` for each.
    ///
    /// # Panics
    /// If `chunk` is 0.
    pub fn chunks_mut<T: Send>(&self, data: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        let len = data.len();
        let base = Shared(data.as_mut_ptr());
        let base = &base;
        self.run(len.div_ceil(chunk), &|index| {
            let start = index * chunk;
            // SAFETY: `start < len` as `index < ceil(len / chunk)`, the end is bounded by `len`, chunks of different
            // indices do not overlap, each index is run once, and `data` stays borrowed until `run` returns.
            let part = unsafe { std::slice::from_raw_parts_mut(base.0.add(start), chunk.min(len - start)) };
            task(index, part);
        });
    }
}
