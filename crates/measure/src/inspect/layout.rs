//! Where the nodes of a drawn graph stand: in layers by depth, with few crossings, edges as straight as can be.
//!
//! The steps are those of K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
//! Structures" (1981): layers by longest path, dummy nodes on long edges, order by barycentres. Positions within a layer
//! minimise the weighted squared distance to the neighbours' mean while nodes keep apart, which is an isotonic regression.

/// Space between neighbours of a layer, and between layers.
const GAP: f64 = 24.0;
const LAYER_GAP: f64 = 34.0;
/// Width that an edge passing through a layer takes.
const DUMMY_WIDTH: f64 = 10.0;
/// Sweeps that order layers, and that move nodes within them.
const ORDER_SWEEPS: usize = 8;
const POSITION_SWEEPS: usize = 10;
/// Beyond this many dummy nodes long edges are drawn straight: a hostile graph could have them square in its size.
const DUMMIES_MAX: usize = 100_000;

/// What is laid out.
pub(super) struct Problem {
    /// Width of each node.
    pub(super) widths: Vec<f64>,
    /// Height of every node.
    pub(super) height: f64,
    /// Edges from the earlier to the later node; others are not laid out.
    pub(super) edges: Vec<(usize, usize)>,
}

/// Where everything stands.
pub(super) struct Layout {
    /// Centre of each node from the left, and its upper edge from the top.
    pub(super) nodes: Vec<(f64, f64)>,
    /// The points of each edge, from the lower side of its first node to the upper side of its second; empty for one that
    /// was not laid out.
    pub(super) edges: Vec<Vec<(f64, f64)>>,
    /// Size of the whole.
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Nodes and dummies, layer by layer.
struct Layers {
    layer: Vec<usize>,
    widths: Vec<f64>,
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    order: Vec<Vec<usize>>,
    /// The chain of nodes of each edge, its dummies between them.
    chains: Vec<Vec<usize>>,
}

pub(super) fn layout(problem: &Problem) -> Layout {
    let mut layers = split(problem);
    sort(&mut layers);
    let x = positions(&layers);
    let step = problem.height + LAYER_GAP;
    let top = |node: usize| layers.layer[node] as f64 * step;
    let chain = |chain: &Vec<usize>| {
        let last = chain.len().saturating_sub(1);
        let mut points = Vec::with_capacity(chain.len() * 2);
        for (index, &node) in chain.iter().enumerate() {
            if index > 0 {
                points.push((x[node], top(node)));
            }
            if index < last {
                points.push((x[node], top(node) + problem.height));
            }
        }
        points
    };
    let count = problem.widths.len();
    let right = |node: usize| x[node] + layers.widths[node] / 2.0;
    Layout {
        nodes: (0..count).map(|node| (x[node], top(node))).collect(),
        edges: layers.chains.iter().map(chain).collect(),
        width: (0..x.len()).map(right).fold(0.0, f64::max),
        height: layers.order.len() as f64 * step - if layers.order.is_empty() { 0.0 } else { LAYER_GAP },
    }
}

/// Layers by longest path; nodes that nothing leads to stand just above what they lead to.
fn depths(problem: &Problem) -> Vec<usize> {
    let count = problem.widths.len();
    let mut incoming = vec![Vec::new(); count];
    let mut outgoing = vec![Vec::new(); count];
    for &(from, to) in problem.edges.iter().filter(|&&(from, to)| from < to && to < count) {
        incoming[to].push(from);
        outgoing[from].push(to);
    }
    let mut depth = vec![0; count];
    for node in 0..count {
        depth[node] = incoming[node].iter().map(|&from| depth[from] + 1).max().unwrap_or(0);
    }
    for node in (0..count).rev().filter(|&node| incoming[node].is_empty()) {
        depth[node] = outgoing[node].iter().map(|&to| depth[to] - 1).min().unwrap_or(0);
    }
    depth
}

fn split(problem: &Problem) -> Layers {
    let mut layer = depths(problem);
    let mut widths = problem.widths.clone();
    let count = layer.iter().max().map_or(0, |deepest| deepest + 1);
    let mut chains = Vec::with_capacity(problem.edges.len());
    let mut links = Vec::new();
    let mut dummies = 0;
    for &(from, to) in &problem.edges {
        if from >= to || to >= problem.widths.len() {
            chains.push(Vec::new());
            continue;
        }
        let mut chain = vec![from];
        let between = layer[from] + 1..layer[to];
        if dummies + between.len() <= DUMMIES_MAX {
            dummies += between.len();
            for at in between {
                chain.push(layer.len());
                layer.push(at);
                widths.push(DUMMY_WIDTH);
            }
            chain.push(to);
            links.extend(chain.windows(2).map(|pair| (pair[0], pair[1])));
        } else {
            chain.push(to);
        }
        chains.push(chain);
    }
    let mut above = vec![Vec::new(); layer.len()];
    let mut below = vec![Vec::new(); layer.len()];
    for (from, to) in links {
        below[from].push(to);
        above[to].push(from);
    }
    let mut order = vec![Vec::new(); count];
    for (node, &at) in layer.iter().enumerate() {
        order[at].push(node);
    }
    Layers { layer, widths, above, below, order, chains }
}

/// Orders each layer by the mean place of its neighbours, down and up in turn, and keeps the order with the fewest
/// crossings.
fn sort(layers: &mut Layers) {
    let mut place = vec![0.0; layers.layer.len()];
    let mut best = (crossings(layers), layers.order.clone());
    for sweep in 0..ORDER_SWEEPS {
        if best.0 == 0 {
            break;
        }
        let down = sweep % 2 == 0;
        for nodes in &layers.order {
            nodes.iter().enumerate().for_each(|(index, &node)| place[node] = index as f64);
        }
        let count = layers.order.len();
        for step in 1..count {
            let at = if down { step } else { count - 1 - step };
            let neighbours = if down { &layers.above } else { &layers.below };
            let nodes = &mut layers.order[at];
            let mut keyed: Vec<_> =
                nodes.iter().map(|&node| (mean(&neighbours[node], &place).unwrap_or(place[node]), node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *nodes = keyed.into_iter().map(|(_, node)| node).collect();
            nodes.iter().enumerate().for_each(|(index, &node)| place[node] = index as f64);
        }
        let found = crossings(layers);
        if found < best.0 {
            best = (found, layers.order.clone());
        }
    }
    layers.order = best.1;
}

fn mean(nodes: &[usize], values: &[f64]) -> Option<f64> {
    (!nodes.is_empty()).then(|| nodes.iter().map(|&node| values[node]).sum::<f64>() / nodes.len() as f64)
}

fn weighted_mean(nodes: &[usize], values: &[f64], weights: &[f64]) -> Option<f64> {
    let total: f64 = nodes.iter().map(|&node| weights[node]).sum();
    (total > 0.0).then(|| nodes.iter().map(|&node| values[node] * weights[node]).sum::<f64>() / total)
}

/// Pairs of edges between neighbouring layers that cross: inversions, counted with a Fenwick tree.
fn crossings(layers: &Layers) -> u64 {
    let mut place = vec![0; layers.layer.len()];
    for nodes in &layers.order {
        nodes.iter().enumerate().for_each(|(index, &node)| place[node] = index);
    }
    let mut total = 0;
    for pair in layers.order.windows(2) {
        let mut tree = vec![0_u64; pair[1].len() + 1];
        let mut inserted = 0;
        for &node in &pair[0] {
            let mut targets: Vec<_> = layers.below[node].iter().map(|&to| place[to]).collect();
            targets.sort_unstable();
            for &target in &targets {
                let (mut at, mut not_right) = (target + 1, 0);
                while at > 0 {
                    not_right += tree[at];
                    at &= at - 1;
                }
                total += inserted - not_right;
            }
            for &target in &targets {
                let mut at = target + 1;
                while at < tree.len() {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
                inserted += 1;
            }
        }
    }
    total
}

/// Centres from the left; the leftmost edge is at 0.
fn positions(layers: &Layers) -> Vec<f64> {
    let mut x = vec![0.0; layers.layer.len()];
    for nodes in &layers.order {
        let mut right = 0.0;
        for &node in nodes {
            x[node] = right + layers.widths[node] / 2.0;
            right += layers.widths[node] + GAP;
        }
    }
    // What nothing leads to, as constants that are converted, stands beside the way from input to output, and long edges
    // stay straight.
    let weight = |node: usize| match layers.above[node].is_empty() {
        true => 0.01,
        false if layers.widths[node] == DUMMY_WIDTH => 2.0,
        false => 1.0,
    };
    let weights: Vec<_> = (0..x.len()).map(weight).collect();
    for sweep in 0..POSITION_SWEEPS {
        let count = layers.order.len();
        for step in 0..count {
            let at = if sweep % 2 == 0 { step } else { count - 1 - step };
            let nodes = &layers.order[at];
            let wanted: Vec<_> = nodes
                .iter()
                .map(|&node| {
                    let mean = |nodes: &[usize]| weighted_mean(nodes, &x, &weights);
                    let (above, below) = (mean(&layers.above[node]), mean(&layers.below[node]));
                    let sides = if sweep % 2 == 0 { (above, below) } else { (below, above) };
                    match sides {
                        (Some(near), Some(far)) if sweep + 2 >= POSITION_SWEEPS => (near + far) / 2.0,
                        (Some(near), _) => near,
                        (None, far) => far.unwrap_or(x[node]),
                    }
                })
                .collect();
            let widths: Vec<_> = nodes.iter().map(|&node| layers.widths[node]).collect();
            let weights: Vec<_> = nodes.iter().map(|&node| weights[node]).collect();
            for (&node, centre) in nodes.iter().zip(apart(&wanted, &widths, &weights)) {
                x[node] = centre;
            }
        }
    }
    let left = (0..x.len()).map(|node| x[node] - layers.widths[node] / 2.0).fold(f64::INFINITY, f64::min);
    x.iter_mut().for_each(|x| *x -= left);
    x
}

/// The centres nearest to the wanted ones, in the sense of least squares, that keep order and distance: pools of neighbours
/// that want to overlap share their mean.
fn apart(wanted: &[f64], widths: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(widths.len());
    let mut offset = 0.0;
    for (index, width) in widths.iter().enumerate() {
        if index > 0 {
            offset += (widths[index - 1] + width) / 2.0 + GAP;
        }
        offsets.push(offset);
    }
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for ((want, offset), &weight) in wanted.iter().zip(&offsets).zip(weights) {
        pools.push((want - offset, weight, 1));
        while let [.., (left, left_weight, left_count), (right, right_weight, right_count)] = pools[..] {
            if left <= right {
                break;
            }
            let weight = left_weight + right_weight;
            let mean = (left * left_weight + right * right_weight) / weight;
            pools.truncate(pools.len() - 2);
            pools.push((mean, weight, left_count + right_count));
        }
    }
    let starts = pools.into_iter().flat_map(|(start, _, count)| std::iter::repeat_n(start, count));
    starts.zip(&offsets).map(|(start, offset)| start + offset).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(widths: Vec<f64>, edges: Vec<(usize, usize)>) -> Problem {
        Problem { widths, height: 40.0, edges }
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let found = layout(&problem(vec![100.0, 60.0, 80.0], vec![(0, 1), (1, 2)]));
        assert!(found.nodes.iter().all(|node| (node.0 - 50.0).abs() < 1e-6), "{:?}", found.nodes);
        assert_eq!(found.nodes.iter().map(|node| node.1).collect::<Vec<_>>(), [0.0, 74.0, 148.0]);
        assert_eq!((found.width, found.height), (100.0, 188.0));
        assert_eq!(found.edges[0].len(), 2);
    }

    #[test]
    fn crossings_are_undone_and_a_skip_goes_beside() {
        // Two chains whose second nodes stand in the other order, and an edge around the first chain.
        let edges = vec![(0, 3), (1, 2), (2, 4), (3, 5), (0, 5)];
        let mut layers = split(&problem(vec![50.0; 6], edges.clone()));
        assert!(crossings(&layers) > 0);
        sort(&mut layers);
        assert_eq!(crossings(&layers), 0);
        let found = layout(&problem(vec![50.0; 6], edges));
        assert_eq!(found.edges[4].len(), 4);
        assert_eq!(found.nodes[4].1, found.nodes[5].1);
    }

    #[test]
    fn nothing_and_edges_that_lead_back_are_fine() {
        let found = layout(&problem(Vec::new(), Vec::new()));
        assert_eq!((found.nodes.len(), found.height), (0, 0.0));
        let found = layout(&problem(vec![10.0; 2], vec![(1, 0), (0, 0), (0, 7)]));
        assert!(found.edges.iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn nodes_keep_apart_and_edges_lead_down(
            widths in proptest::collection::vec(20.0_f64..200.0, 1..40),
            pairs in proptest::collection::vec((0_usize..40, 0_usize..40), 0..80),
        ) {
            let count = widths.len();
            let edges: Vec<_> = pairs.into_iter().filter(|&(a, b)| a < b && b < count).collect();
            let found = layout(&problem(widths.clone(), edges.clone()));
            for a in 0..count {
                prop_assert!(found.nodes[a].0 - widths[a] / 2.0 > -1e-6);
                prop_assert!(found.nodes[a].0 + widths[a] / 2.0 < found.width + 1e-6);
                for b in 0..a {
                    let apart = (found.nodes[a].0 - found.nodes[b].0).abs() - (widths[a] + widths[b]) / 2.0;
                    prop_assert!(found.nodes[a].1 != found.nodes[b].1 || apart > GAP - 1e-6);
                }
            }
            for (edge, points) in edges.iter().zip(&found.edges) {
                prop_assert!(found.nodes[edge.0].1 < found.nodes[edge.1].1);
                prop_assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            }
        }
    }
}
