//! Attention, as <https://onnx.ai/onnx/operators/onnx__Attention.html> defines it, without caches and softcap. Imported
//! models hold it written out, until the pass `recognize-attention` finds it.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, SoftmaxKind, expect, gemm, real, softmax};
use crate::target::Target;

/// Rows of queries whose scores are held at once.
const QUERY_ROWS: usize = 64;

/// `y = softmax(q·kᵀ·scale + mask)·v` for every head.
///
/// Inputs of f32: q with `heads` heads of queries × depth, k and v with `kv_heads` heads of keys × depth and of keys ×
/// width; heads of q that lie side by side share one of k and v. Optional: a mask that broadcasts to `[batch, heads,
/// queries, keys]`. Output: `heads` heads of queries × width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Factor of the scores.
    pub scale: f32,
    /// `Probability`, or `Attended`: 0 for rows that attend to nothing.
    pub kind: SoftmaxKind,
    /// Where the heads of q, k, v and y lie.
    pub heads: [Heads; 4],
}

/// Where the heads of a tensor of rank 4 lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heads {
    /// `[batch, heads, rows, features]`.
    Outside,
    /// `[batch, rows, heads, features]`.
    Inside,
}

impl Heads {
    /// The other place.
    pub fn turned(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }

    /// `[batch, heads, rows, features]` of a shape in this order, and the reverse.
    fn ordered([batch, a, b, features]: [usize; 4], heads: Self) -> [usize; 4] {
        match heads {
            Self::Outside => [batch, a, b, features],
            Self::Inside => [batch, b, a, features],
        }
    }

    /// The first elements of all rows of one head.
    fn rows(
        self,
        [_, heads, rows, features]: [usize; 4],
        sample: usize,
        head: usize,
    ) -> impl Iterator<Item = usize> {
        (0..rows).map(move |row| {
            let index = match self {
                Self::Outside => (sample * heads + head) * rows + row,
                Self::Inside => (sample * rows + row) * heads + head,
            };
            index * features
        })
    }
}

/// The sizes of an attention.
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
}

impl Sizes {
    fn grid(&self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.keys]
    }
}

impl Attention {
    /// The sizes of operands of these types.
    ///
    /// # Errors
    /// Where they do not fit.
    pub(super) fn sizes(&self, inputs: &[&TensorType]) -> Result<Sizes, OpError> {
        let ordered = |index: usize, name: &str| {
            let shape = <[usize; 4]>::try_from(&inputs[index].shape[..]);
            let shape = shape
                .map_err(|_| OpError::new(format!("`{name}` of rank 4 wanted, {} found", inputs[index])))?;
            Ok(Heads::ordered(shape, self.heads[index]))
        };
        let [batch, heads, queries, depth] = ordered(0, "q")?;
        let [k_batch, kv_heads, keys, k_depth] = ordered(1, "k")?;
        let [v_batch, v_heads, v_keys, width] = ordered(2, "v")?;
        let is_fit = [k_batch, v_batch] == [batch; 2]
            && k_depth == depth
            && [v_heads, v_keys] == [kv_heads, keys]
            && kv_heads > 0
            && heads.is_multiple_of(kv_heads);
        if !is_fit {
            return Err(OpError::new(format!(
                "q, k and v of one batch, q and k of one depth, k and v with one number of rows and of heads that divides q's wanted, \
                 {}, {} and {} found",
                inputs[0], inputs[1], inputs[2]
            )));
        }
        Ok(Sizes {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            depth,
            width,
        })
    }
}

impl Operator for Attention {
    const ONNX: &'static [&'static str] = &["Attention"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=4)?;
        for (name, input) in ["q", "k", "v", "mask"].into_iter().zip(inputs) {
            expect::dtype(name, input, DType::F32)?;
        }
        let sizes = self.sizes(inputs)?;
        if let Some(mask) = inputs.get(3) {
            let grid = sizes.grid();
            let fits = |(&own, extent): (&usize, usize)| own == 1 || own == extent;
            if mask.shape.len() != 4 || !mask.shape.iter().zip(grid).all(fits) {
                return Err(OpError::new(format!(
                    "a `mask` of rank 4 that broadcasts to {grid:?} wanted, {mask} found"
                )));
            }
        }
        if !matches!(self.kind, SoftmaxKind::Probability | SoftmaxKind::Attended) || !self.scale.is_finite() {
            return Err(OpError::new(format!(
                "a softmax and a finite scale wanted, {:?} and {} found",
                self.kind, self.scale
            )));
        }
        let shape = [sizes.batch, sizes.heads, sizes.queries, sizes.width];
        Ok(vec![TensorType::new(
            DType::F32,
            Heads::ordered(shape, self.heads[3]),
        )])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let types: Vec<TensorType> = inputs.iter().map(|input| input.ty()).collect();
        let sizes = self.sizes(&types.iter().collect::<Vec<_>>())?;
        let mut y = vec![0.0; ty.len()];
        let sharing = sizes.heads / sizes.kv_heads;
        for sample in 0..sizes.batch {
            for head in 0..sizes.heads {
                self.attend(&sizes, inputs, [sample, head, head / sharing], &mut y)?;
            }
        }
        Ok(vec![Values::new(ty.shape, Data::F32(y))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return Ok(real::attention(self, inputs)?);
        }
        Err(OpError::new("an attention in one has no integer kernel")
            .with_help("compile with --precision f32")
            .into())
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        self.sizes(inputs).map_or(0, |sizes| {
            let scores = sizes
                .grid()
                .iter()
                .fold(1u64, |n, &extent| n.saturating_mul(extent as u64));
            scores.saturating_mul((sizes.depth + sizes.width) as u64)
        })
    }
}

impl Attention {
    /// One head of one sample into its place in `y`.
    fn attend(
        &self,
        sizes: &Sizes,
        inputs: &[&Values],
        [sample, head, kv_head]: [usize; 3],
        y: &mut [f32],
    ) -> Result<(), OpError> {
        let Sizes {
            heads,
            kv_heads,
            queries,
            keys,
            depth,
            width,
            ..
        } = *sizes;
        let real = |index: usize| {
            let values: &Values = inputs[index];
            values
                .as_f32()
                .ok_or_else(|| OpError::new(format!("f32 wanted, {} found", values.ty())))
        };
        let head_of = |index: usize, [heads, rows, features]: [usize; 3], head: usize| {
            let (x, mut own) = (real(index)?, Vec::with_capacity(rows * features));
            for first in self.heads[index].rows([0, heads, rows, features], sample, head) {
                own.extend_from_slice(&x[first..][..features]);
            }
            Ok::<_, OpError>(own)
        };
        let q = head_of(0, [heads, queries, depth], head)?;
        let k = gemm::Packed::from_columns(&head_of(1, [kv_heads, keys, depth], kv_head)?, keys, depth);
        let v = gemm::Packed::from_rows(&head_of(2, [kv_heads, keys, width], kv_head)?, keys, width);
        let mask = match inputs.get(3) {
            Some(mask) => Some((real(3)?, Mask::of(&mask.shape, [sample, head]))),
            None => None,
        };
        let mut places = self.heads[3].rows([0, heads, queries, width], sample, head);
        let (mut scores, mut mixed) = (Vec::new(), Vec::new());
        for first in (0..queries).step_by(QUERY_ROWS) {
            let rows = QUERY_ROWS.min(queries - first);
            scores.resize(rows * keys, 0.0f32);
            let q = &q[first * depth..][..rows * depth];
            gemm::product(q, rows, &k, gemm::Finish::NONE, &mut scores, keys);
            for (i, score) in scores.iter_mut().enumerate() {
                *score *= self.scale;
                if let Some((mask, places)) = &mask {
                    *score += mask[places.at(first + i / keys, i % keys)];
                }
            }
            let weights = softmax::lines(self.kind, &scores, keys, 1);
            mixed.resize(rows * width, 0.0f32);
            gemm::product(&weights, rows, &v, gemm::Finish::NONE, &mut mixed, width);
            for (row, place) in mixed.chunks_exact(width.max(1)).zip(&mut places) {
                y[place..][..width].copy_from_slice(row);
            }
        }
        Ok(())
    }
}

/// Where the mask of one head lies.
struct Mask {
    first: usize,
    query_stride: usize,
    key_stride: usize,
}

impl Mask {
    fn of(shape: &[usize], head: [usize; 2]) -> Self {
        let strides = row_major_strides(shape);
        let stride = |axis: usize| if shape[axis] == 1 { 0 } else { strides[axis] };
        Self {
            first: head[0] * stride(0) + head[1] * stride(1),
            query_stride: stride(2),
            key_stride: stride(3),
        }
    }

    fn at(&self, query: usize, key: usize) -> usize {
        self.first + query * self.query_stride + key * self.key_stride
    }
}
