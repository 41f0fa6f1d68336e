//! Memory on large pages for what many megabytes are read of in each run.
//!
//! The weights of one model spread over thousands of pages of 4 KiB, more than a CPU remembers the addresses of, so that each is
//! looked up again in every run. Linux gives memory in pages of 2 MiB to who asks for them.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::buffer::Line;

/// Bytes of a large page.
const PAGE: usize = 2 << 20;
/// Bytes that are asked for at once; pages that are never touched take no memory.
const SLAB: usize = 4 * PAGE;
/// Smaller blocks come from the heap.
const BLOCK_MIN: usize = 32 << 10;

/// Bytes of such blocks that are in use, wherever they lie. Only what is beyond the first large page comes from slabs, so that
/// a small model takes no more memory than it needs.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
/// The slab that was made last, while any block of it is in use.
static CURRENT: Mutex<Weak<Slab>> = Mutex::new(Weak::new());

/// One allocation, which blocks are cut from in order; it is freed with the last of them.
struct Slab {
    lines: NonNull<Line>,
    bytes: usize,
    /// Bytes that blocks were cut from.
    used: AtomicUsize,
}

// SAFETY: a slab hands each byte to one block only, and does not touch it itself.
unsafe impl Send for Slab {}
// SAFETY: likewise; what is shared is atomic.
unsafe impl Sync for Slab {}

impl Slab {
    fn layout(bytes: usize) -> Option<std::alloc::Layout> {
        std::alloc::Layout::from_size_align(bytes, PAGE).ok()
    }

    /// A slab of `bytes`, a multiple of [`PAGE`] that is not 0.
    fn new(bytes: usize) -> Option<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the size is not 0.
        let lines = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        // SAFETY: the range is that of the allocation. It is advice: whether it is taken does not matter.
        unsafe { libc::madvise(lines.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        Some(Self { lines: lines.cast(), bytes, used: AtomicUsize::new(0) })
    }

    /// Cuts off a block of zeros.
    fn cut(self: &Arc<Self>, lines: usize) -> Option<Block> {
        let bytes = lines.checked_mul(size_of::<Line>())?;
        let fits = |used: usize| used.checked_add(bytes).filter(|&end| end <= self.bytes);
        let from = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        // SAFETY: `from + bytes` is within the slab, and no other block has any of it.
        let start = unsafe {
            let start = self.lines.byte_add(from);
            start.write_bytes(0, lines);
            start
        };
        Some(Block { start, lines, _slab: Arc::clone(self) })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated in `new` with the same layout; no block is left.
            unsafe { std::alloc::dealloc(self.lines.as_ptr().cast(), layout) };
        }
    }
}

/// Lines of a slab.
pub(crate) struct Block {
    start: NonNull<Line>,
    lines: usize,
    _slab: Arc<Slab>,
}

// SAFETY: a block owns its lines, which are plain data.
unsafe impl Send for Block {}
// SAFETY: likewise.
unsafe impl Sync for Block {}

impl Block {
    /// `lines` zeros on large pages, if they are many enough to be worth it and there is memory.
    pub(crate) fn new(lines: usize) -> Option<Self> {
        let bytes = lines.checked_mul(size_of::<Line>())?;
        if bytes < BLOCK_MIN || IN_USE.load(Ordering::Relaxed) < PAGE {
            return None;
        }
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = current.upgrade().and_then(|slab| slab.cut(lines)) {
            return Some(block);
        }
        let slab = Arc::new(Slab::new(bytes.max(SLAB).checked_next_multiple_of(PAGE)?)?);
        let block = slab.cut(lines)?;
        *current = Arc::downgrade(&slab);
        Some(block)
    }

    pub(crate) fn as_slice(&self) -> &[Line] {
        // SAFETY: the block owns `lines` initialised lines from `start` on.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.lines) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Line] {
        // SAFETY: the block owns `lines` initialised lines from `start` on.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.lines) }
    }
}

/// Adds what a block of `lines` takes, wherever it lies, to what is in use, or takes it off.
pub(crate) fn count(lines: usize, comes: bool) {
    let bytes = lines * size_of::<Line>();
    match bytes >= BLOCK_MIN {
        true if comes => IN_USE.fetch_add(bytes, Ordering::Relaxed),
        true => IN_USE.fetch_sub(bytes, Ordering::Relaxed),
        false => 0,
    };
}
