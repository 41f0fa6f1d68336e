//! A pool of threads with static work splitting.

/// Threads that share the tasks of one call.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
}

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
    pub fn chunks_mut<T: Send>(&self, data: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        let chunks: Vec<_> = data.chunks_mut(chunk).map(std::sync::Mutex::new).collect();
        self.run(chunks.len(), &|index| {
            if let Ok(mut chunk) = chunks[index].lock() {
                task(index, &mut chunk);
            }
        });
    }
}
