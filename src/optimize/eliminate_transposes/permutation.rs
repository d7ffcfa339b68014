//! Arithmetic of permutations: `y.shape[i] = x.shape[perm[i]]`, as `Transpose` has it.

use std::ops::Range;

/// The permutation that undoes `perm`.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    permute_back(&(0..perm.len()).collect::<Vec<_>>(), perm)
}

/// First `first`, then `second`.
pub(super) fn compose(first: &[usize], second: &[usize]) -> Vec<usize> {
    second.iter().map(|&axis| first[axis]).collect()
}

/// What belongs to the axes before the transpose, given for those behind it: `before[perm[i]] = behind[i]`.
pub(super) fn permute_back<T: Clone>(behind: &[T], perm: &[usize]) -> Vec<T> {
    let mut before = behind.to_vec();
    for (item, &axis) in behind.iter().zip(perm) {
        before[axis] = item.clone();
    }
    before
}

/// Whether transposing a tensor of this shape moves no element, only extents of 1.
pub(super) fn moves_only_units(shape: &[usize], perm: &[usize]) -> bool {
    perm.iter().filter(|&&axis| shape[axis] != 1).is_sorted()
}

/// A transpose by `perm` of a tensor of shape `x`, then a reshape to `z`, as a reshape first: to the first result,
/// then the transpose by the second. `None` where the reshape tears apart or joins axes that the transpose moves
/// differently.
pub(super) fn through_reshape(x: &[usize], perm: &[usize], z: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let y: Vec<usize> = perm.iter().map(|&axis| x[axis]).collect();
    let y_axes = non_units(&y);
    let z_axes = non_units(z);
    let x_axes = non_units(x);
    // Where each moved axis stands among those of x.
    let rank: Vec<usize> = y_axes
        .iter()
        .map(|&axis| x_axes.binary_search(&perm[axis]))
        .collect::<Result<_, _>>()
        .ok()?;
    let groups = align(&y, &y_axes, z, &z_axes)?;
    // The groups in the order of x, each with the axes of z it became.
    let mut blocks: Vec<(usize, Vec<usize>)> = Vec::new();
    for (from, to) in &groups {
        let ranks = &rank[from.clone()];
        if !ranks.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return None;
        }
        // An extent of 1 goes with the axis before it.
        let first = z_axes[to.start];
        let next = z_axes.get(to.end).copied().unwrap_or(z.len());
        blocks.push((ranks[0], (first..next).collect()));
    }
    blocks.sort();
    let leading = 0..z_axes.first().copied().unwrap_or(z.len());
    let order: Vec<usize> = leading
        .chain(blocks.into_iter().flat_map(|(_, axes)| axes))
        .collect();
    let shape = order.iter().map(|&axis| z[axis]).collect();
    Some((shape, inverse(&order)))
}

fn non_units(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).filter(|&axis| shape[axis] != 1).collect()
}

/// The smallest runs of axes of `y` and `z` that hold the same elements. `None` of empty tensors.
fn align(
    y: &[usize],
    y_axes: &[usize],
    z: &[usize],
    z_axes: &[usize],
) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < y_axes.len() && j < z_axes.len() {
        let start = (i, j);
        let (mut left, mut right) = (y[y_axes[i]], z[z_axes[j]]);
        (i, j) = (i + 1, j + 1);
        while left != right {
            if left < right {
                left *= y[*y_axes.get(i)?];
                i += 1;
            } else {
                right *= z[*z_axes.get(j)?];
                j += 1;
            }
        }
        if left == 0 {
            return None;
        }
        groups.push((start.0..i, start.1..j));
    }
    (i == y_axes.len() && j == z_axes.len()).then_some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dimensional_convolutions_cancel_through_reshapes() {
        // [n,1,w,c] → [n,c,1,w] → [n,c,w] is [n,1,w,c] → [n,w,c] → [n,c,w].
        let (shape, perm) = through_reshape(&[2, 1, 5, 3], &[0, 3, 1, 2], &[2, 3, 5]).unwrap();
        assert_eq!((shape, perm), (vec![2, 5, 3], vec![0, 2, 1]));
    }

    #[test]
    fn joined_axes_that_moved_together_pass() {
        let (shape, perm) = through_reshape(&[1, 4, 5, 3], &[0, 3, 1, 2], &[1, 3, 20]).unwrap();
        assert_eq!((shape, perm), (vec![1, 20, 3], vec![0, 2, 1]));
    }

    #[test]
    fn joined_axes_that_moved_apart_do_not() {
        assert_eq!(through_reshape(&[1, 4, 5, 3], &[0, 3, 1, 2], &[1, 60]), None);
    }

    #[test]
    fn moving_units_moves_nothing() {
        assert!(moves_only_units(&[1, 1, 1, 64], &[0, 3, 1, 2]));
        assert!(!moves_only_units(&[1, 2, 1, 64], &[0, 3, 1, 2]));
    }
}
