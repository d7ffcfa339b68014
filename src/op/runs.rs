//! How operands are walked together, element by element in the order of one index, with as few turns as possible.

use super::tensor::broadcast_strides;

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
            for (strides, stride) in runs.strides.iter_mut().zip(own) {
                strides[last] = stride;
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
    pub(super) fn starts(&self) -> Starts<'_, N> {
        let outer = self.dims.len().saturating_sub(1);
        Starts {
            runs: self,
            index: vec![0; outer],
            next: (!self.dims[..outer].contains(&0)).then_some([0; N]),
        }
    }
}

/// Where runs begin, in the order of the index.
pub(super) struct Starts<'r, const N: usize> {
    runs: &'r Runs<N>,
    /// Of all dimensions but the last.
    index: Vec<usize>,
    next: Option<[usize; N]>,
}

impl<const N: usize> Iterator for Starts<'_, N> {
    type Item = [usize; N];

    #[inline]
    fn next(&mut self) -> Option<[usize; N]> {
        let start = self.next?;
        let mut next = start;
        self.next = None;
        for (axis, index) in self.index.iter_mut().enumerate().rev() {
            *index += 1;
            if *index < self.runs.dims[axis] {
                for (next, strides) in next.iter_mut().zip(&self.runs.strides) {
                    *next += strides[axis];
                }
                self.next = Some(next);
                break;
            }
            for (next, strides) in next.iter_mut().zip(&self.runs.strides) {
                *next -= (*index - 1) * strides[axis];
            }
            *index = 0;
        }
        Some(start)
    }
}

impl Runs<1> {
    /// The elements of `from` under each run, the first of which lies at `base`.
    pub(super) fn copy<T: Copy>(&self, from: &[T], base: usize) -> Vec<T> {
        let mut to = Vec::with_capacity(self.elements());
        let (len, [step]) = (self.len(), self.steps());
        if len == 0 {
            return to;
        }
        for [start] in self.starts() {
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
        let (len, [step]) = (self.len(), self.steps());
        if len == 0 {
            return;
        }
        for ([start], from) in self.starts().zip(from.chunks_exact(len)) {
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
    pub(super) fn map<T: Copy, U: Copy + Default>(&self, a: &[T], b: &[T], f: impl Fn(T, T) -> U) -> Vec<U> {
        let mut to = vec![U::default(); self.elements()];
        let (len, steps) = (self.len(), self.steps());
        for ([start_a, start_b], to) in self.starts().zip(to.chunks_exact_mut(len.max(1))) {
            let (a, b) = (&a[start_a..], &b[start_b..]);
            match steps {
                [1, 1] => {
                    for ((to, &a), &b) in to.iter_mut().zip(&a[..len]).zip(&b[..len]) {
                        *to = f(a, b);
                    }
                }
                [1, 0] => {
                    for (to, &a) in to.iter_mut().zip(&a[..len]) {
                        *to = f(a, b[0]);
                    }
                }
                [0, 1] => {
                    for (to, &b) in to.iter_mut().zip(&b[..len]) {
                        *to = f(a[0], b);
                    }
                }
                [step_a, step_b] => {
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = f(a[i * step_a], b[i * step_b]);
                    }
                }
            }
        }
        to
    }
}
