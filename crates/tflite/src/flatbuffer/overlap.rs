//! Vectors of numbers in as few bytes as possible: a short superstring of all of them.
//!
//! Found greedily, the largest overlap first, which is never far from the shortest (Blum et al., "Linear approximation of
//! shortest superstrings", 1994).

/// A count and what follows it; the first byte behind the count is aligned, to 4 or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leaf {
    pub(super) bytes: Vec<u8>,
    pub(super) alignment: usize,
}

/// Leaves that overlap: bytes whose position is `phase` modulo `alignment`, and where in them each leaf begins.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) alignment: usize,
    pub(super) phase: usize,
    pub(super) leaves: Vec<(usize, usize)>,
}

/// Beyond as many leaves or bytes they stand side by side.
const LEAVES_MAX: usize = 300;
const BYTES_MAX: usize = 1 << 21;

/// Blocks that hold every leaf, in the order of the first leaf of each.
pub(super) fn overlap(leaves: &[&Leaf]) -> Vec<Block> {
    let mut blocks: Vec<_> = leaves
        .iter()
        .enumerate()
        .map(|(index, leaf)| Block {
            bytes: leaf.bytes.clone(),
            alignment: leaf.alignment,
            phase: leaf.alignment - 4,
            leaves: vec![(index, 0)],
        })
        .collect();
    if blocks.len() > LEAVES_MAX || blocks.iter().map(|block| block.bytes.len()).sum::<usize>() > BYTES_MAX {
        return blocks;
    }
    // What joining block i and, somewhere in it, block j saves, and where j then begins.
    let mut saved: Vec<Vec<Option<(usize, usize)>>> =
        blocks.iter().map(|first| blocks.iter().map(|second| best_join(first, second)).collect()).collect();
    for (index, row) in saved.iter_mut().enumerate() {
        row[index] = None;
    }
    loop {
        let mut best = None;
        for (first, row) in saved.iter().enumerate() {
            for (second, join) in row.iter().enumerate() {
                if let Some((bytes, at)) = join
                    && best.is_none_or(|(most, _, _, _)| *bytes > most)
                {
                    best = Some((*bytes, first, second, *at));
                }
            }
        }
        let Some((_, first, second, at)) = best else { break };
        let other = std::mem::replace(
            &mut blocks[second],
            Block { bytes: Vec::new(), alignment: 4, phase: 0, leaves: Vec::new() },
        );
        join(&mut blocks[first], &other, at);
        for index in 0..blocks.len() {
            saved[second][index] = None;
            saved[index][second] = None;
            if index != first && !blocks[index].leaves.is_empty() {
                saved[first][index] = best_join(&blocks[first], &blocks[index]);
                saved[index][first] = best_join(&blocks[index], &blocks[first]);
            }
        }
    }
    blocks.retain(|block| !block.leaves.is_empty());
    blocks
}

/// Alignment and phase of both, `second` beginning at `at` in `first`; `None` when no position suits both.
fn aligned(first: &Block, second: &Block, at: usize) -> Option<(usize, usize)> {
    let phase = (second.phase + second.alignment - at % second.alignment) % second.alignment;
    let common = first.alignment.min(second.alignment);
    let wider =
        if first.alignment >= second.alignment { (first.alignment, first.phase) } else { (second.alignment, phase) };
    (first.phase % common == phase % common).then_some(wider)
}

fn best_join(first: &Block, second: &Block) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for at in (0..first.bytes.len()).step_by(4) {
        let tail = &first.bytes[at..];
        let common = tail.len().min(second.bytes.len());
        if best.is_some_and(|(most, _)| common <= most) {
            continue;
        }
        if tail[..common] == second.bytes[..common] && aligned(first, second, at).is_some() {
            best = Some((common, at));
        }
    }
    best
}

fn join(first: &mut Block, second: &Block, at: usize) {
    if let Some((alignment, phase)) = aligned(first, second, at) {
        (first.alignment, first.phase) = (alignment, phase);
    }
    let common = (first.bytes.len() - at).min(second.bytes.len());
    first.bytes.extend_from_slice(&second.bytes[common..]);
    first.leaves.extend(second.leaves.iter().map(|(leaf, offset)| (*leaf, offset + at)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(words: &[u32], alignment: usize) -> Leaf {
        Leaf { bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(), alignment }
    }

    /// Every leaf is where its block says, at a position that suits its alignment.
    fn check(leaves: &[Leaf]) -> Vec<usize> {
        let blocks = overlap(&leaves.iter().collect::<Vec<_>>());
        let mut seen = 0;
        for block in &blocks {
            for &(leaf, at) in &block.leaves {
                let leaf = &leaves[leaf];
                assert_eq!(block.bytes[at..at + leaf.bytes.len()], leaf.bytes);
                assert_eq!((block.phase + at + 4) % leaf.alignment, 0);
                seen += 1;
            }
        }
        assert_eq!(seen, leaves.len());
        blocks.iter().map(|block| block.bytes.len() / 4).collect()
    }

    #[test]
    fn vectors_contain_and_continue_each_other() {
        let shape = leaf(&[4, 1, 14, 14, 8], 4);
        assert_eq!(check(&[shape.clone(), leaf(&[1, 14], 4)]), [5]);
        assert_eq!(check(&[shape.clone(), leaf(&[2, 7, 3], 4)]), [5, 3]);
        assert_eq!(check(&[shape, leaf(&[8, 1, 1, 1, 1, 1, 1, 1, 1], 4), leaf(&[1, 1], 4)]), [13]);
        // Words of a number of 64 bits stand at 8: here the count would have to stand there.
        assert_eq!(check(&[leaf(&[1, 0, 0], 8), leaf(&[3, 1, 0, 0], 8)]), [3, 4]);
        assert_eq!(check(&[leaf(&[1, 0, 0], 8), leaf(&[4, 7, 1, 0, 0], 4)]), [5]);
    }
}
