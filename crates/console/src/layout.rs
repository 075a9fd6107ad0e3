//! Where the nodes of a directed graph are drawn: in layers from left to right, each behind those that lead to it, in
//! an order that crosses few lines (Sugiyama's method). Pure; what nodes look like is left to who draws them.

/// How often layers are put in a better order.
const SWEEPS: usize = 6;

/// Sizes of what is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) node_width: f64,
    pub(crate) node_height: f64,
    /// Between layers.
    pub(crate) gap_x: f64,
    /// Between nodes of a layer.
    pub(crate) gap_y: f64,
}

/// A place in the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spot {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// The middle of each node.
    pub(crate) nodes: Vec<Spot>,
    /// By edge: the points a line goes through, from the side of one node to that of the other. A line back to the
    /// left begins at the left; none for an edge from a node to itself.
    pub(crate) lines: Vec<Vec<Spot>>,
}

/// Lays out nodes and edges between them, which are pairs of their numbers.
pub(crate) fn layered(nodes: usize, edges: &[(usize, usize)], sizes: Sizes) -> Layout {
    let forward = without_cycles(nodes, edges);
    let layers_of = layers(nodes, &forward);
    // A line over several layers goes through a place of its own in each.
    let mut ranks: Vec<Vec<usize>> = vec![Vec::new(); layers_of.iter().max().map_or(0, |last| last + 1)];
    for (node, layer) in layers_of.iter().enumerate() {
        ranks[*layer].push(node);
    }
    let mut places = nodes;
    let mut chains = Vec::with_capacity(edges.len());
    for (from, to) in &forward {
        let mut chain = vec![*from];
        if from != to {
            for rank in &mut ranks[layers_of[*from] + 1..layers_of[*to]] {
                rank.push(places);
                chain.push(places);
                places += 1;
            }
        }
        chain.push(*to);
        chains.push(chain);
    }
    order(&mut ranks, &chains, places);
    let spots = spots(&ranks, places, nodes, sizes);
    let lines = edges.iter().zip(&chains).map(|(edge, chain)| line(*edge, chain, nodes, &spots, sizes));
    let tallest = ranks.iter().map(|rank| height(rank, nodes, sizes)).fold(0.0, f64::max);
    let columns = ranks.len() as f64;
    Layout {
        width: (columns * (sizes.node_width + sizes.gap_x) - sizes.gap_x).max(0.0),
        height: tallest,
        lines: lines.collect(),
        nodes: spots[..nodes].to_vec(),
    }
}

/// The edges with those turned that close a circle.
fn without_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (nth, (from, _)) in edges.iter().enumerate() {
        of[*from].push(nth);
    }
    let mut turned = edges.to_vec();
    let mut marks = vec![Mark::New; nodes];
    // Those that nobody leads to come first, so that circles are cut where they are entered.
    let is_led_to = |node: &usize| edges.iter().any(|(from, to)| to == node && from != to);
    let (later, first): (Vec<usize>, Vec<usize>) = (0..nodes).partition(is_led_to);
    for start in first.into_iter().chain(later) {
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            if marks[*node] == Mark::Done && *next == 0 {
                path.pop();
                continue;
            }
            marks[*node] = Mark::Open;
            let Some(edge) = of[*node].get(*next).copied() else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let (from, to) = edges[edge];
            match marks[to] {
                Mark::Open if from != to => turned[edge] = (to, from),
                Mark::New => path.push((to, 0)),
                Mark::Open | Mark::Done => {}
            }
        }
    }
    turned
}

/// The layer of each node: one behind the last of those that lead to it.
fn layers(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut waits = vec![0; nodes];
    for (from, to) in edges.iter().filter(|(from, to)| from != to) {
        _ = from;
        waits[*to] += 1;
    }
    let mut ready: Vec<usize> = (0..nodes).filter(|node| waits[*node] == 0).collect();
    let mut layers = vec![0; nodes];
    while let Some(node) = ready.pop() {
        for (from, to) in edges.iter().filter(|(from, to)| *from == node && from != to) {
            layers[*to] = layers[*to].max(layers[*from] + 1);
            waits[*to] -= 1;
            if waits[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    layers
}

/// Puts each place near the middle of those that it is joined with in the layer before, then behind, and so on.
fn order(ranks: &mut [Vec<usize>], chains: &[Vec<usize>], places: usize) {
    let (mut before, mut behind) = (vec![Vec::new(); places], vec![Vec::new(); places]);
    for chain in chains {
        for pair in chain.windows(2).filter(|pair| pair[0] != pair[1]) {
            behind[pair[0]].push(pair[1]);
            before[pair[1]].push(pair[0]);
        }
    }
    let mut at = vec![0.0; places];
    let place = |rank: &[usize], at: &mut Vec<f64>| {
        for (nth, place) in rank.iter().enumerate() {
            // From the middle of the layer, so that layers of different lengths compare.
            at[*place] = nth as f64 - (rank.len() as f64 - 1.0) / 2.0;
        }
    };
    for rank in ranks.iter() {
        place(rank, &mut at);
    }
    for sweep in 0..SWEEPS {
        let joined = if sweep % 2 == 0 { &before } else { &behind };
        for nth in 0..ranks.len() {
            let nth = if sweep % 2 == 0 { nth } else { ranks.len() - 1 - nth };
            let middle = |place: &usize| match joined[*place].len() {
                0 => at[*place],
                count => joined[*place].iter().map(|other| at[*other]).sum::<f64>() / count as f64,
            };
            let mut rank: Vec<(f64, usize)> =
                ranks[nth].iter().map(|place| (middle(place), *place)).collect();
            rank.sort_by(|one, other| one.0.total_cmp(&other.0));
            ranks[nth] = rank.into_iter().map(|(_, place)| place).collect();
            place(&ranks[nth], &mut at);
        }
    }
}

/// How tall a place is: lines need less room than nodes.
fn tall(place: usize, nodes: usize, sizes: Sizes) -> f64 {
    if place < nodes { sizes.node_height } else { sizes.node_height / 3.0 }
}

fn height(rank: &[usize], nodes: usize, sizes: Sizes) -> f64 {
    let gaps = rank.len().saturating_sub(1) as f64 * sizes.gap_y;
    rank.iter().map(|place| tall(*place, nodes, sizes)).sum::<f64>() + gaps
}

fn spots(ranks: &[Vec<usize>], places: usize, nodes: usize, sizes: Sizes) -> Vec<Spot> {
    let tallest = ranks.iter().map(|rank| height(rank, nodes, sizes)).fold(0.0, f64::max);
    let mut spots = vec![Spot::default(); places];
    for (layer, rank) in ranks.iter().enumerate() {
        let x = layer as f64 * (sizes.node_width + sizes.gap_x) + sizes.node_width / 2.0;
        let mut top = (tallest - height(rank, nodes, sizes)) / 2.0;
        for place in rank {
            let tall = tall(*place, nodes, sizes);
            spots[*place] = Spot { x, y: top + tall / 2.0 };
            top += tall + sizes.gap_y;
        }
    }
    spots
}

fn line(edge: (usize, usize), chain: &[usize], nodes: usize, spots: &[Spot], sizes: Sizes) -> Vec<Spot> {
    if edge.0 == edge.1 {
        return Vec::new();
    }
    let is_turned = chain[0] != edge.0;
    let half = sizes.node_width / 2.0;
    let mut line = Vec::new();
    for (nth, place) in chain.iter().enumerate() {
        let Spot { x, y } = spots[*place];
        match nth {
            0 => line.push(Spot { x: x + half, y }),
            nth if nth == chain.len() - 1 => line.push(Spot { x: x - half, y }),
            // Through a column straight on.
            _ if *place >= nodes => line.extend([Spot { x: x - half, y }, Spot { x: x + half, y }]),
            _ => line.push(Spot { x, y }),
        }
    }
    if is_turned {
        line.reverse();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: Sizes = Sizes { node_width: 100.0, node_height: 30.0, gap_x: 50.0, gap_y: 10.0 };

    #[test]
    fn who_is_called_stands_behind_all_who_call() {
        // web calls cart and orders, orders calls cart; nobody calls `lone`.
        let layout = layered(4, &[(0, 1), (0, 2), (2, 1)], SIZES);
        let x: Vec<f64> = layout.nodes.iter().map(|node| node.x).chain([layout.width]).collect();
        assert_eq!(x, [50.0, 350.0, 200.0, 50.0, 400.0]);
        assert_eq!(layout.lines[0].len(), 4, "a line over a layer goes straight through it");
    }

    #[test]
    fn a_circle_has_one_line_back() {
        let layout = layered(3, &[(0, 1), (1, 2), (2, 0), (1, 1)], SIZES);
        let is_back: Vec<bool> = layout
            .lines
            .iter()
            .map(|line| line.first().is_some_and(|first| first.x > line[line.len() - 1].x))
            .collect();
        assert_eq!(is_back, [false, false, true, false]);
        assert!(layout.lines[3].is_empty());
        assert_eq!(layered(0, &[], SIZES), Layout { width: 0.0, height: 0.0, nodes: vec![], lines: vec![] });
    }

    proptest! {
        #[test]
        fn no_two_nodes_meet_and_every_line_joins_its_nodes(
            nodes in 1usize..25,
            pairs in proptest::collection::vec((0usize..25, 0usize..25), 0..60),
        ) {
            let edges: Vec<_> = pairs.iter().map(|(from, to)| (from % nodes, to % nodes)).collect();
            let layout = layered(nodes, &edges, SIZES);
            for (nth, one) in layout.nodes.iter().enumerate() {
                prop_assert!(one.x >= 50.0 && one.x <= layout.width - 50.0);
                prop_assert!(one.y >= 15.0 - 1e-6 && one.y <= layout.height - 15.0 + 1e-6);
                for other in &layout.nodes[nth + 1..] {
                    let apart = (one.x - other.x).abs() >= 150.0 || (one.y - other.y).abs() >= 30.0;
                    prop_assert!(apart, "{one:?} {other:?}");
                }
            }
            for ((from, to), line) in edges.iter().zip(&layout.lines) {
                let (Some(first), Some(last)) = (line.first(), line.last()) else {
                    prop_assert_eq!(from, to);
                    continue;
                };
                prop_assert!(((first.x - layout.nodes[*from].x).abs() - 50.0).abs() < 1e-6);
                prop_assert!(((last.x - layout.nodes[*to].x).abs() - 50.0).abs() < 1e-6);
                prop_assert_eq!((first.y, last.y), (layout.nodes[*from].y, layout.nodes[*to].y));
            }
        }
    }
}
