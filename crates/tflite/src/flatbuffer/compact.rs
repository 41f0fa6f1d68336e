//! Laying a file out in as few bytes as the wire format allows.
//!
//! Nothing is placed before everything is known. Then equal objects of any kind stand once, tables share vtables where that
//! is smaller ([`super::vtables`]), vectors of numbers overlap ([`super::overlap`]), and everything stands in the order that
//! needs least padding. The rules of the format hold: offsets point forward, numbers are aligned to their size.

use std::collections::HashMap;
use std::rc::Rc;

use litesmith_graph::{Error, Result};

use super::overlap::{Leaf, overlap};
use super::vtables::{TableFields, choose};

#[derive(Debug, PartialEq, Eq, Hash)]
enum Object {
    Vector(Leaf),
    Offsets(Vec<usize>),
    Table(TableFields),
}

/// Everything to be written. An object is known by its index, and points only to objects with lower ones.
#[derive(Debug, Default)]
pub(super) struct Compact {
    objects: Vec<Rc<Object>>,
    known: HashMap<Rc<Object>, usize>,
}

impl Compact {
    fn add(&mut self, object: Object) -> usize {
        if let Some(&index) = self.known.get(&object) {
            return index;
        }
        let object = Rc::new(object);
        self.objects.push(Rc::clone(&object));
        self.known.insert(object, self.objects.len() - 1);
        self.objects.len() - 1
    }

    /// A vector of `count` elements, whose first byte is aligned to `alignment` (at least 4).
    pub(super) fn vector(&mut self, count: usize, content: &[u8], alignment: usize) -> usize {
        let mut bytes = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend_from_slice(content);
        // Where there is nothing, nothing need be aligned.
        let alignment = if content.is_empty() { 4 } else { alignment.max(4) };
        self.add(Object::Vector(Leaf { bytes, alignment }))
    }

    pub(super) fn offsets(&mut self, targets: Vec<usize>) -> usize {
        self.add(Object::Offsets(targets))
    }

    pub(super) fn table(&mut self, mut fields: TableFields) -> usize {
        fields.stored.sort();
        fields.defaults.sort();
        self.add(Object::Table(fields))
    }

    /// The file with the table `root` as its root.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a table is larger than 16-bit offsets reach.
    pub(super) fn finish(&self, root: usize, identifier: [u8; 4]) -> Result<Vec<u8>> {
        let (items, place_of) = self.items(root)?;
        // No order is best for every file.
        let orders =
            [Preference::Early, Preference::Large, Preference::Small].map(|preference| place(&items, preference));
        let positions = orders.into_iter().min_by_key(|(_, bytes)| *bytes).map(|(positions, _)| positions);
        write(&items, &positions.unwrap_or_default(), &place_of, root, identifier)
    }

    fn is_reached(&self, root: usize) -> Vec<bool> {
        let mut is_reached = vec![false; self.objects.len()];
        is_reached[root] = true;
        for index in (0..self.objects.len()).rev() {
            if !is_reached[index] {
                continue;
            }
            match &*self.objects[index] {
                Object::Vector(_) => {}
                Object::Offsets(targets) => targets.iter().for_each(|&target| is_reached[target] = true),
                Object::Table(fields) => fields.stored.iter().for_each(|(_, slot)| {
                    if let super::vtables::Slot::Offset(target) = slot {
                        is_reached[*target] = true;
                    }
                }),
            }
        }
        is_reached
    }

    /// What the file is made of, and the item and the place in it of each object that `root` reaches.
    fn items(&self, root: usize) -> Result<(Vec<Item>, Vec<Place>)> {
        let is_reached = self.is_reached(root);
        let reached = || self.objects.iter().enumerate().filter(|(index, _)| is_reached[*index]);
        let mut items = Vec::new();
        let mut place_of = vec![None; self.objects.len()];

        let tables: Vec<_> = reached()
            .filter_map(|(index, object)| match &**object {
                Object::Table(fields) => Some((index, fields)),
                _ => None,
            })
            .collect();
        let (layouts, chosen) = choose(&tables.iter().map(|(_, fields)| *fields).collect::<Vec<_>>());
        let too_large = || Error::unsupported("", "a table takes more bytes than its 16-bit offsets reach");
        let mut vtables: HashMap<Vec<u8>, usize> = HashMap::new();
        for ((index, fields), layout) in tables.into_iter().zip(chosen) {
            let layout = &layouts[layout];
            let vtable = layout.vtable().ok_or_else(too_large)?;
            let vtable = *vtables.entry(vtable).or_insert_with_key(|bytes| {
                items.push(Item::new(bytes.clone(), 2, 0));
                items.len() - 1
            });
            let content = layout.content(fields).ok_or_else(too_large)?;
            let mut item = Item::new(content.bytes, layout.alignment, 0);
            item.offsets = content.offsets;
            item.vtable = Some(vtable);
            place_of[index] = Some((items.len(), 0));
            items.push(item);
        }
        for (index, object) in reached() {
            if let Object::Offsets(targets) = &**object {
                let count = u32::try_from(targets.len()).unwrap_or(u32::MAX).to_le_bytes();
                let mut item = Item::new(count.to_vec(), 4, 0);
                item.bytes.resize(4 + 4 * targets.len(), 0);
                item.offsets = targets.iter().enumerate().map(|(at, &target)| (4 + 4 * at, target)).collect();
                place_of[index] = Some((items.len(), 0));
                items.push(item);
            }
        }
        let leaves: Vec<_> = reached()
            .filter_map(|(index, object)| match &**object {
                Object::Vector(leaf) => Some((index, leaf)),
                _ => None,
            })
            .collect();
        for block in overlap(&leaves.iter().map(|(_, leaf)| *leaf).collect::<Vec<_>>()) {
            for (leaf, at) in block.leaves {
                place_of[leaves[leaf].0] = Some((items.len(), at));
            }
            items.push(Item::new(block.bytes, block.alignment, block.phase));
        }
        for item in 0..items.len() {
            let targets: Vec<_> = items[item].offsets.iter().filter_map(|(_, target)| place_of[*target]).collect();
            for (target, _) in targets {
                items[target].parents += 1;
                items[item].children.push(target);
            }
        }
        if let Some((root, _)) = place_of[root] {
            items[root].is_root = true;
        }
        Ok((items, place_of))
    }
}

/// The item of an object and where in it that begins; `None` for what is not written.
type Place = Option<(usize, usize)>;

/// Bytes that stand together.
struct Item {
    bytes: Vec<u8>,
    /// The position is `phase` modulo `alignment`.
    alignment: usize,
    phase: usize,
    /// Where offsets stand, and the objects that they point to.
    offsets: Vec<(usize, usize)>,
    /// Item of the vtable of a table.
    vtable: Option<usize>,
    /// Items that must stand behind this one, once for each offset.
    children: Vec<usize>,
    /// Offsets that point here.
    parents: usize,
    is_root: bool,
}

impl Item {
    fn new(bytes: Vec<u8>, alignment: usize, phase: usize) -> Self {
        Self { bytes, alignment, phase, offsets: vec![], vtable: None, children: vec![], parents: 0, is_root: false }
    }

    /// Bytes of padding before this item at `position`.
    fn padding(&self, position: usize) -> usize {
        (self.phase + self.alignment - position % self.alignment) % self.alignment
    }
}

/// Of more items than these that may come next only the first are looked at.
const READY_MAX: usize = 1000;

/// Which of the items that fit equally well comes first.
#[derive(Clone, Copy)]
enum Preference {
    Early,
    Large,
    Small,
}

/// A position for each item, and the bytes of the file: always the item next that needs least padding, of those whose parents
/// all stand; then one that leaves the position aligned.
fn place(items: &[Item], preference: Preference) -> (Vec<usize>, usize) {
    let mut positions = vec![0; items.len()];
    let mut missing: Vec<_> = items.iter().map(|item| item.parents).collect();
    let is_vtable = |item: &Item| item.alignment < 4;
    let mut ready: Vec<_> = (0..items.len()).filter(|&item| items[item].is_root || is_vtable(&items[item])).collect();
    let mut position = 8_usize;
    while !ready.is_empty() {
        let cost = |&(_, &item): &(usize, &usize)| {
            let item_ref = &items[item];
            let padding = item_ref.padding(position);
            let left_over = (position + padding + item_ref.bytes.len()) % 4;
            let size = item_ref.bytes.len();
            let rank = match preference {
                Preference::Early => item,
                Preference::Large => usize::MAX - size,
                Preference::Small => size,
            };
            // A vtable fits anywhere: it waits for a gap.
            (padding, is_vtable(item_ref) && position.is_multiple_of(4), left_over != 0, rank, item)
        };
        let Some((at, _)) = ready.iter().enumerate().take(READY_MAX).min_by_key(cost) else { break };
        let item = ready.swap_remove(at);
        position += items[item].padding(position);
        positions[item] = position;
        position += items[item].bytes.len();
        for &child in &items[item].children {
            missing[child] -= 1;
            if missing[child] == 0 {
                ready.push(child);
            }
        }
    }
    (positions, position)
}

fn write(items: &[Item], positions: &[usize], place_of: &[Place], root: usize, identifier: [u8; 4]) -> Result<Vec<u8>> {
    let position_of = |object: usize| place_of[object].map_or(0, |(item, at)| positions[item] + at);
    let mut bytes = u32::try_from(position_of(root)).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend_from_slice(&identifier);
    for (item, &position) in items.iter().zip(positions) {
        debug_assert_eq!(item.padding(position), 0, "an item stands where its alignment does not allow");
        bytes.resize(bytes.len().max(position + item.bytes.len()), 0);
        let mut content = item.bytes.clone();
        if let Some(vtable) = item.vtable {
            let [position, vtable] =
                [position, positions[vtable]].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
            let back = i32::try_from(position - vtable).unwrap_or(i32::MAX);
            content[..4].copy_from_slice(&back.to_le_bytes());
        }
        for &(at, target) in &item.offsets {
            // Sizes beyond 32 bits are refused by the caller.
            let offset = u32::try_from(position_of(target) - position - at).unwrap_or(u32::MAX);
            content[at..at + 4].copy_from_slice(&offset.to_le_bytes());
        }
        bytes[position..position + content.len()].copy_from_slice(&content);
    }
    Ok(bytes)
}
