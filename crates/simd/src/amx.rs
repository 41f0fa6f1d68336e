//! AMX: tile registers of 16 rows of 64 bytes, and products of two of them. Intrinsics for it are not stable yet, so these are
//! instructions by name; the assembler knows them whatever the target's features are.

use std::arch::asm;
use std::sync::atomic::{AtomicU8, Ordering};

/// Rows of a tile at most.
pub const ROWS: usize = 16;
/// Bytes of a row of a tile at most.
pub const ROW_BYTES: usize = 64;

/// Whether the CPU has AMX for bytes, the system saves its registers, and this process may use them: asked for once, as Linux wants
/// it. Other systems have another way to ask, or none.
#[must_use]
pub fn is_granted() -> bool {
    const UNKNOWN: u8 = 2;
    static GRANTED: AtomicU8 = AtomicU8::new(UNKNOWN);
    match GRANTED.load(Ordering::Relaxed) {
        UNKNOWN => {
            let granted = cfg!(all(target_os = "linux", not(miri))) && is_present() && request();
            GRANTED.store(u8::from(granted), Ordering::Relaxed);
            granted
        }
        known => known == 1,
    }
}

/// CPUID leaf 7 tells AMX-TILE and AMX-INT8, XCR0 whether the system has switched both of its states on.
fn is_present() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    const STATES: u32 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(7, 0).edx & TILE_AND_INT8 != TILE_AND_INT8 {
        return false;
    }
    let enabled: u32;
    // SAFETY: OSXSAVE says that the instruction exists and that register 0 may be read.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack, preserves_flags)) };
    enabled & STATES == STATES
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`: Linux gives tile registers to processes that ask for them.
fn request() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that changes nothing but this permission; the registers that it overwrites are named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// The shapes of the eight tile registers.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tile registers of this thread, with the shapes for a product of bytes: 0 to 3 take sums, 4 and 5 rows of the left operand,
/// 6 and 7 columns of the right one. They are given back when this is dropped, as a thread that holds some is slower to switch.
#[derive(Debug)]
pub struct Tiles {
    rows: usize,
    steps: usize,
    /// Registers belong to a thread.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Tiles {
    /// Shapes for `rows` rows and `steps` groups of four elements, each 1 to 16; `None` where the CPU has no AMX. Only one may live
    /// on a thread.
    #[must_use]
    pub fn new(rows: usize, steps: usize) -> Option<Self> {
        if !is_granted() || !(1..=ROWS).contains(&rows) || !(1..=ROWS).contains(&steps) {
            return None;
        }
        let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for tile in 0..8 {
            (shapes.rows[tile], shapes.row_bytes[tile]) = match tile {
                0..4 => (rows as u8, ROW_BYTES as u16),
                4 | 5 => (rows as u8, 4 * steps as u16),
                _ => (steps as u8, ROW_BYTES as u16),
            };
        }
        // SAFETY: the CPU has AMX and the process may use it; the shapes are ones of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly, preserves_flags)) };
        Some(Self { rows, steps, not_send: std::marker::PhantomData })
    }

    /// Rows of the tiles of sums.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Groups of four elements that a product takes.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: there are shapes, so the CPU has AMX.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// Reads tile register `$tile` from `$at` on, rows `$stride` bytes apart. There must be [`Tiles`], and the rows be readable.
#[macro_export]
macro_rules! tile_load {
    ($tile:literal, $at:expr, $stride:expr) => {
        std::arch::asm!(
            concat!("tileloadd tmm", $tile, ", [{at} + {stride}]"),
            at = in(reg) $at,
            stride = in(reg) $stride,
            options(nostack, readonly, preserves_flags),
        )
    };
}

/// Writes tile register `$tile` to `$at` on, rows `$stride` bytes apart. There must be [`Tiles`], and the rows be writable.
#[macro_export]
macro_rules! tile_store {
    ($tile:literal, $at:expr, $stride:expr) => {
        std::arch::asm!(
            concat!("tilestored [{at} + {stride}], tmm", $tile),
            at = in(reg) $at,
            stride = in(reg) $stride,
            options(nostack, preserves_flags),
        )
    };
}

/// Adds the product of tile registers `$a` and `$b` to `$sums`: signed bytes times signed ones with `"ss"`, unsigned times signed
/// with `"us"`. There must be [`Tiles`].
#[macro_export]
macro_rules! tile_multiply {
    ($types:literal, $sums:literal, $a:literal, $b:literal) => {
        std::arch::asm!(
            concat!("tdpb", $types, "d tmm", $sums, ", tmm", $a, ", tmm", $b),
            options(nomem, nostack, preserves_flags),
        )
    };
}
