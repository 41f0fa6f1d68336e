//! Where the fields of tables stand, chosen for all tables together.
//!
//! A vtable says where each field of a table stands, and tables with the same vtable share it. Two freedoms make a file
//! smaller: a field that has its default may be stored all the same, if that lets the table use the vtable of another;
//! and fields of a table may stand in the same bytes when their values agree, as a stride of 1 by 1 does. Which layouts are
//! worth their vtable is a facility location problem; it is solved by closing layouts as long as that saves bytes.

use std::collections::HashSet;

/// What stands in a field: the bytes of a number, or the index of the object that it points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Slot {
    Scalar(Vec<u8>),
    Offset(usize),
}

impl Slot {
    fn size(&self) -> usize {
        match self {
            Self::Scalar(bytes) => bytes.len(),
            Self::Offset(_) => 4,
        }
    }
}

/// The fields of a table by ascending number; those equal to their default apart, for they may be stored or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct TableFields {
    pub(super) stored: Vec<(usize, Slot)>,
    pub(super) defaults: Vec<(usize, Vec<u8>)>,
}

impl TableFields {
    fn find(&self, number: usize) -> Option<Slot> {
        let stored = self.stored.iter().find(|(other, _)| *other == number).map(|(_, slot)| slot.clone());
        let default = || self.defaults.iter().find(|(other, _)| *other == number);
        stored.or_else(|| default().map(|(_, bytes)| Slot::Scalar(bytes.clone())))
    }
}

/// Number, place in the table and size of each field, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    fields: Vec<(usize, usize, usize)>,
    /// Bytes of the table.
    pub(super) size: usize,
    /// What the position of the table must be a multiple of.
    pub(super) alignment: usize,
}

/// The content of a table: bytes, and the places of offsets with the objects that they point to. The first four bytes are
/// for the offset of the vtable.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: Vec<(usize, usize)>,
}

impl Layout {
    /// A layout of `fields`: large ones first, each in the first free place. With `sharing`, a number may stand where its
    /// bytes already are.
    fn of(fields: &[(usize, Slot)], sharing: bool) -> Self {
        let mut order: Vec<_> = fields.iter().collect();
        order.sort_by_key(|(number, slot)| (std::cmp::Reverse(slot.size()), *number));
        // `None` is a byte that nothing may share.
        let mut bytes: Vec<Option<u8>> = vec![None; 4];
        let mut free = vec![false; 4];
        let mut placed = Vec::with_capacity(fields.len());
        for (number, slot) in order {
            let size = slot.size();
            let content = match slot {
                Slot::Scalar(content) => content.iter().map(|&byte| Some(byte)).collect(),
                Slot::Offset(_) => vec![None; size],
            };
            let is_there = |at: usize| {
                let end = bytes.get(at..at + size);
                end.is_some_and(|there| sharing && there.iter().zip(&content).all(|(a, b)| a.is_some() && a == b))
            };
            let is_free = |at: usize| (at..at + size).all(|at| free.get(at).copied().unwrap_or(true));
            let place = (0..=bytes.len()).step_by(size).find(|&at| is_there(at));
            let place = place.or_else(|| (0..=bytes.len() + size).step_by(size).find(|&at| is_free(at)));
            let place = place.unwrap_or(bytes.len().next_multiple_of(size));
            if bytes.len() < place + size {
                bytes.resize(place + size, None);
                free.resize(place + size, true);
            }
            if is_free_at(&free, place, size) {
                bytes[place..place + size].copy_from_slice(&content);
                free[place..place + size].fill(false);
            }
            placed.push((*number, place, size));
        }
        placed.sort_unstable();
        let alignment = placed.iter().map(|(_, _, size)| *size).max().unwrap_or(4).max(4);
        Self { fields: placed, size: bytes.len(), alignment }
    }

    /// The table in this layout; `None` when it does not fit.
    pub(super) fn content(&self, table: &TableFields) -> Option<Content> {
        let numbers = || self.fields.iter().map(|(number, _, _)| number);
        if table.stored.iter().any(|(number, _)| !numbers().any(|other| other == number)) {
            return None;
        }
        let mut bytes: Vec<Option<u8>> = vec![None; self.size];
        let mut taken = vec![false; self.size];
        taken.iter_mut().take(4).for_each(|taken| *taken = true);
        let mut offsets = Vec::new();
        for &(number, place, size) in &self.fields {
            let slot = table.find(number).filter(|slot| slot.size() == size)?;
            let range = place..place + size;
            match slot {
                Slot::Scalar(content) => {
                    for (at, byte) in range.zip(content) {
                        let is_new = !std::mem::replace(&mut taken[at], true);
                        if is_new {
                            bytes[at] = Some(byte);
                        } else if bytes[at] != Some(byte) {
                            return None;
                        }
                    }
                }
                Slot::Offset(target) => {
                    if taken[range.clone()].contains(&true) {
                        return None;
                    }
                    taken[range].fill(true);
                    offsets.push((place, target));
                }
            }
        }
        Some(Content { bytes: bytes.into_iter().map(Option::unwrap_or_default).collect(), offsets })
    }

    /// The bytes of the vtable; `None` when the table is too large for 16-bit offsets.
    pub(super) fn vtable(&self) -> Option<Vec<u8>> {
        let last = self.fields.last().map_or(0, |(number, _, _)| number + 1);
        let mut entries = vec![0; 2 + last];
        entries[0] = u16::try_from(4 + 2 * last).ok()?;
        entries[1] = u16::try_from(self.size).ok()?;
        for &(number, place, _) in &self.fields {
            entries[2 + number] = u16::try_from(place).ok()?;
        }
        Some(entries.into_iter().flat_map(u16::to_le_bytes).collect())
    }

    fn vtable_size(&self) -> usize {
        4 + 2 * self.fields.last().map_or(0, |(number, _, _)| number + 1)
    }
}

fn is_free_at(free: &[bool], place: usize, size: usize) -> bool {
    free.iter().skip(place).take(size).all(|&free| free)
}

/// Beyond as many tables the layouts are not searched: a vtable more is nothing there.
const TABLES_MAX: usize = 600;
const LAYOUTS_MAX: usize = 150;

/// Layouts, and which one each table has.
pub(super) fn choose(tables: &[&TableFields]) -> (Vec<Layout>, Vec<usize>) {
    let mut layouts: Vec<Layout> = Vec::new();
    let mut known = HashSet::new();
    let own: Vec<_> = tables.iter().map(|table| Layout::of(&table.stored, false)).collect();
    let shared = tables.iter().map(|table| Layout::of(&table.stored, true));
    let mut all: Vec<_> = own.iter().cloned().chain(shared).collect();
    if tables.len() <= TABLES_MAX {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        for table in tables {
            let set: Vec<_> = table.stored.iter().map(|(number, _)| *number).collect();
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        for table in tables {
            for set in &sets {
                let fields: Option<Vec<_>> = set.iter().map(|&number| Some((number, table.find(number)?))).collect();
                let Some(fields) = fields else { continue };
                all.push(Layout::of(&fields, true));
            }
        }
    }
    for layout in all {
        let is_wanted = layouts.len() < LAYOUTS_MAX || own.contains(&layout);
        if is_wanted && known.insert(layout.clone()) {
            layouts.push(layout);
        }
    }
    let fits: Vec<Vec<(usize, usize)>> = tables
        .iter()
        .map(|table| {
            let fit = |(index, layout): (usize, &Layout)| layout.content(table).map(|_| (index, layout.size));
            let mut fits: Vec<_> = layouts.iter().enumerate().filter_map(fit).collect();
            fits.sort_by_key(|&(index, size)| (size.next_multiple_of(4), size, index));
            fits
        })
        .collect();
    let mut open: Vec<bool> = vec![true; layouts.len()];
    let total = |open: &[bool]| -> Option<usize> {
        let vtables: usize = layouts.iter().zip(open).filter(|(_, open)| **open).map(|(l, _)| l.vtable_size()).sum();
        let tables = fits
            .iter()
            .map(|fits| fits.iter().find(|(index, _)| open[*index]).map(|(_, size)| size.next_multiple_of(4)));
        tables.sum::<Option<usize>>().map(|tables| tables + vtables)
    };
    if tables.len() <= TABLES_MAX {
        loop {
            let now = total(&open);
            let closed = (0..layouts.len()).filter(|&index| open[index]).filter_map(|index| {
                let mut without = open.clone();
                without[index] = false;
                total(&without).map(|bytes| (bytes, index))
            });
            match closed.min() {
                Some((bytes, index)) if Some(bytes) <= now => open[index] = false,
                _ => break,
            }
        }
    } else {
        // Each its own, none beyond.
        open = layouts.iter().map(|layout| own.contains(layout)).collect();
    }
    let chosen: Vec<_> =
        fits.iter().map(|fits| fits.iter().find(|(index, _)| open[*index]).map_or(0, |(index, _)| *index)).collect();
    (layouts, chosen)
}
