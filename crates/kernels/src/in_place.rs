//! Ops that write their result over an operand, element by element.

use bytemuck::Pod;

use crate::{Context, Pool};

/// Elements that are set aside at a time: they stay in the first cache.
pub const CHUNK: usize = 1024;

/// Elements that are worth a thread.
const WORTH: usize = 2 * 1024;

/// Replaces `y` piece by piece: `op(context, start, x, y)` computes the elements of `y` from those that were there, `x`; they
/// begin at `start` of the whole. Pieces have [`CHUNK`] elements, the last one fewer.
pub fn in_place<T: Pod + Send>(ctx: Context<'_>, y: &mut [T], op: impl Fn(Context<'_>, usize, &[T], &mut [T]) + Sync) {
    let task = ctx.pool.share(y.len().div_ceil(CHUNK), CHUNK, WORTH) * CHUNK;
    ctx.pool.chunks_mut(y, task, |index, y| {
        let serial = Pool::serial();
        let ctx = Context { pool: &serial, ..ctx };
        let mut aside = [T::zeroed(); CHUNK];
        for (piece, y) in y.chunks_mut(CHUNK).enumerate() {
            let x = &mut aside[..y.len()];
            x.copy_from_slice(y);
            op(ctx, index * task + piece * CHUNK, x, y);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn every_element_is_replaced_once_on_any_number_of_threads() {
        for threads in 1..4 {
            let pool = Pool::new(threads);
            let ctx = Context { isa: Isa::Scalar, pool: &pool };
            for len in [0, 1, CHUNK, 5 * CHUNK + 7, 300 * CHUNK] {
                let mut y: Vec<i32> = (0..len as i32).collect();
                in_place(ctx, &mut y, |_, start, x, y| {
                    assert_eq!(x[0], start as i32);
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = x * 2 + 1);
                });
                assert!(y.iter().enumerate().all(|(index, &y)| y == index as i32 * 2 + 1));
            }
        }
    }
}
