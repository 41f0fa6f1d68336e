//! Binary heaps that order equal elements as GNU's `std::priority_queue` and `std::partial_sort` do: LiteRT's detections depend
//! on it. `less(a, b)` says whether `a` comes below `b`; the greatest element is the first.

fn push<T: Copy>(heap: &mut [T], mut hole: usize, top: usize, value: T, less: &impl Fn(&T, &T) -> bool) {
    while hole > top {
        let parent = (hole - 1) / 2;
        if !less(&heap[parent], &value) {
            break;
        }
        heap[hole] = heap[parent];
        hole = parent;
    }
    heap[hole] = value;
}

/// Moves the hole to the bottom along the greater children, then `value` up from there.
fn adjust<T: Copy>(heap: &mut [T], mut hole: usize, value: T, less: &impl Fn(&T, &T) -> bool) {
    let (top, len) = (hole, heap.len());
    while hole < (len - 1) / 2 {
        let right = 2 * (hole + 1);
        let child = if less(&heap[right], &heap[right - 1]) { right - 1 } else { right };
        heap[hole] = heap[child];
        hole = child;
    }
    if len.is_multiple_of(2) && hole == (len - 2) / 2 {
        heap[hole] = heap[len - 1];
        hole = len - 1;
    }
    push(heap, hole, top, value, less);
}

/// Adds the last element of `heap` to the heap of those before it.
pub(crate) fn push_last<T: Copy>(heap: &mut [T], less: &impl Fn(&T, &T) -> bool) {
    if let Some(&value) = heap.last() {
        push(heap, heap.len() - 1, 0, value, less);
    }
}

/// Moves the greatest element to the end; those before it are a heap.
pub(crate) fn pop_to_last<T: Copy>(heap: &mut [T], less: &impl Fn(&T, &T) -> bool) {
    if let [first, .., last] = heap {
        let value = *last;
        *last = *first;
        let len = heap.len() - 1;
        adjust(&mut heap[..len], 0, value, less);
    }
}

/// Puts the least `count` elements first, in order.
pub(crate) fn partial_sort<T: Copy>(values: &mut [T], count: usize, less: &impl Fn(&T, &T) -> bool) {
    let (heap, rest) = values.split_at_mut(count.min(values.len()));
    if heap.is_empty() {
        return;
    }
    if heap.len() > 1 {
        for parent in (0..=(heap.len() - 2) / 2).rev() {
            adjust(heap, parent, heap[parent], less);
        }
    }
    for value in rest {
        if less(value, &heap[0]) {
            let taken = std::mem::replace(value, heap[0]);
            adjust(heap, 0, taken, less);
        }
    }
    for len in (2..=heap.len()).rev() {
        pop_to_last(&mut heap[..len], less);
    }
}

#[cfg(test)]
mod tests {
    use super::{partial_sort, pop_to_last, push_last};

    #[test]
    fn a_partial_sort_puts_the_least_first_and_a_heap_gives_the_greatest() {
        for len in 0..40_u64 {
            let values: Vec<u64> = (0..len).map(|i| i * 7919 % 13).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for count in 0..=values.len() {
                let mut partial = values.clone();
                partial_sort(&mut partial, count, &|a, b| a < b);
                assert_eq!(partial[..count], sorted[..count]);
            }
            let mut heap = values;
            (1..=heap.len()).for_each(|len| push_last(&mut heap[..len], &|a, b| a < b));
            (1..=heap.len()).rev().for_each(|len| pop_to_last(&mut heap[..len], &|a, b| a < b));
            assert_eq!(heap, sorted);
        }
    }
}
