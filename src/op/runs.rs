//! How operands are walked together, element by element in the order of one index, with as few turns as possible.

use super::tensor::{row_major_strides, strided_indices};

/// `N` operands over the dimensions of an index: without extents of one, with neighbours joined that run on in all
/// operands. The last dimension is the run; the others say where runs begin.
#[derive(Clone, Debug)]
pub(crate) struct Runs<const N: usize> {
    pub(super) dims: Vec<usize>,
    /// Elements of an operand from one index to the next.
    pub(super) strides: [Vec<usize>; N],
}

impl<const N: usize> Runs<N> {
    /// Operands with these strides over `dims`.
    pub(super) fn new(dims: &[usize], strides: [&[usize]; N]) -> Self {
        let mut runs = Self {
            dims: Vec::new(),
            strides: std::array::from_fn(|_| Vec::new()),
        };
        for (i, &extent) in dims.iter().enumerate() {
            if extent == 1 {
                continue;
            }
            let own: [usize; N] = std::array::from_fn(|side| strides[side][i]);
            let runs_on = !runs.dims.is_empty()
                && (0..N).all(|side| runs.strides[side].last() == Some(&(own[side] * extent)));
            if !runs_on {
                runs.dims.push(1);
                runs.strides.iter_mut().for_each(|strides| strides.push(0));
            }
            let last = runs.dims.len() - 1;
            runs.dims[last] *= extent;
            for side in 0..N {
                runs.strides[side][last] = own[side];
            }
        }
        runs
    }

    /// Row-major operands of these shapes, broadcast to one.
    pub(super) fn broadcast(shapes: [&[usize]; N], to: &[usize]) -> Self {
        let strides = shapes.map(|shape| broadcast_strides(shape, to));
        Self::new(to, std::array::from_fn(|side| &strides[side][..]))
    }

    /// Elements of a run.
    pub(super) fn len(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// Elements of all runs.
    pub(super) fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Elements of each operand from one of a run to the next.
    pub(super) fn steps(&self) -> [usize; N] {
        std::array::from_fn(|side| self.strides[side].last().copied().unwrap_or(1))
    }

    /// Where the runs begin in each operand.
    pub(super) fn starts(&self) -> [Vec<usize>; N] {
        let outer = self.dims.len().saturating_sub(1);
        std::array::from_fn(|side| strided_indices(&self.dims[..outer], &self.strides[side][..outer], 0))
    }
}

impl Runs<1> {
    /// Appends the elements under each run of `from`, the first of which lies at `base`.
    pub(super) fn copy<T: Copy>(&self, from: &[T], base: usize) -> Vec<T> {
        let mut to = Vec::with_capacity(self.elements());
        let (len, [step], [starts]) = (self.len(), self.steps(), self.starts());
        if len == 0 {
            return to;
        }
        for start in starts {
            let from = &from[base + start..];
            match step {
                0 => to.extend(std::iter::repeat_n(from[0], len)),
                1 => to.extend_from_slice(&from[..len]),
                _ => to.extend(from.iter().step_by(step).take(len)),
            }
        }
        to
    }

    /// Writes `from`, element by element, under each run of `to`, the first of which lies at `base`.
    pub(super) fn put<T: Copy>(&self, from: &[T], to: &mut [T], base: usize) {
        let (len, [step], [starts]) = (self.len(), self.steps(), self.starts());
        if len == 0 {
            return;
        }
        for (start, from) in starts.into_iter().zip(from.chunks_exact(len)) {
            let to = &mut to[base + start..];
            if step == 1 {
                to[..len].copy_from_slice(from);
                continue;
            }
            for (to, &from) in to.iter_mut().step_by(step).zip(from) {
                *to = from;
            }
        }
    }
}

impl Runs<2> {
    /// `f` of every two elements that meet.
    #[inline(always)]
    pub(super) fn map<T: Copy, U>(&self, a: &[T], b: &[T], f: impl Fn(T, T) -> U) -> Vec<U> {
        let mut to = Vec::with_capacity(self.elements());
        let (len, steps, [starts_a, starts_b]) = (self.len(), self.steps(), self.starts());
        if len == 0 {
            return to;
        }
        for (start_a, start_b) in starts_a.into_iter().zip(starts_b) {
            let (a, b) = (&a[start_a..], &b[start_b..]);
            match steps {
                [1, 1] => to.extend(a[..len].iter().zip(&b[..len]).map(|(&a, &b)| f(a, b))),
                [1, 0] => {
                    let b = b[0];
                    to.extend(a[..len].iter().map(|&a| f(a, b)));
                }
                [0, 1] => {
                    let a = a[0];
                    to.extend(b[..len].iter().map(|&b| f(a, b)));
                }
                [step_a, step_b] => {
                    to.extend((0..len).map(|i| f(a[i * step_a], b[i * step_b])));
                }
            }
        }
        to
    }
}

/// Elements from one index of `to` to the next in a row-major tensor of `shape`; 0 where it is broadcast.
pub(super) fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let strides = row_major_strides(shape);
    let lead = to.len() - shape.len();
    let own = shape
        .iter()
        .zip(strides)
        .map(|(&extent, stride)| if extent == 1 { 0 } else { stride });
    std::iter::repeat_n(0, lead).chain(own).collect()
}
