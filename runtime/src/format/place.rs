//! Records of steps that read or write by indices, or find them; their opcodes start at 52. Indices that are read count
//! from the end where they are negative, and those beyond an end stand for it.

use super::record::{Field, fields, record};

record! {
    /// Rows that indices name: `ofm[o][j] = ifm[o][indices[j]]`.
    GatherRows = 52 {
        /// Source of the rows, `[outer][extent]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the indices, `[count]` (arena, or [`super::IN_CONSTANTS`]).
        indices: u32,
        /// Arena offset of the output, `[outer][count]`.
        ofm: u32,
        /// How often all is done.
        outer: u32,
        /// Rows to choose from.
        extent: u32,
        /// Indices.
        count: u32,
        /// Bytes of a row.
        row_bytes: u32,
        /// Bytes of an index: 4 or 8.
        index_bytes: u8,
    }
}

record! {
    /// Elements that indices name along one axis: `ofm[d…] = ifm[Σ dᵢ·ifm_stridesᵢ + indices[d…]·axis_stride]`.
    GatherElements = 53 {
        /// Source of the elements (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the indices, `dims` in row-major order (arena, or [`super::IN_CONSTANTS`]).
        indices: u32,
        /// Arena offset of the output, `dims` in row-major order.
        ofm: u32,
        /// Shape of indices and output, outermost first.
        dims: [u32; 5],
        /// Elements from one index to the next in the source; 0 along the axis.
        ifm_strides: [u32; 5],
        /// Elements of the source along the axis.
        extent: u32,
        /// Elements from one to the next of them.
        axis_stride: u32,
        /// Bytes of an index: 4 or 8.
        index_bytes: u8,
        /// Bytes of an element: 1, 2, 4 or 8.
        element_bytes: u8,
    }
}

record! {
    /// A copy with rows of updates: `ofm = data`, then for each row `r`, one after the other,
    /// `ofm[Σ indices[r][k]·stridesₖ + e] ∘= updates[r][e]`.
    Scatter = 54 {
        /// Source of the data, `[count]` (arena, or [`super::IN_CONSTANTS`]).
        data: u32,
        /// Source of the updates, `[rows][row_elements]` (arena, or [`super::IN_CONSTANTS`]).
        updates: u32,
        /// Source of the indices, `[rows][depth]` (arena, or [`super::IN_CONSTANTS`]).
        indices: u32,
        /// Arena offset of the output, `[count]`; may equal `data`.
        ofm: u32,
        /// Elements of the data.
        count: u32,
        /// Rows of updates.
        rows: u32,
        /// Elements of a row.
        row_elements: u32,
        /// What the first `depth` indices of a row count up to.
        extents: [u32; 5],
        /// Elements from one to the next of each.
        strides: [u32; 5],
        /// Indices of a row, 1 to 5.
        depth: u8,
        /// Bytes of an index: 4 or 8.
        index_bytes: u8,
        /// Bytes of an element: 1, 2, 4 or 8.
        element_bytes: u8,
        /// 0: the update takes the element's place. Of f32 elements also 1: sum; 2: product; 3: the greater one; 4: the
        /// lesser one.
        reduction: u8,
    }
}

record! {
    /// The indices, as i64, of the first elements along an axis in their order; NaN is above every number.
    Rank = 55 {
        /// Source of the elements, `[outer][extent][inner]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output, `[outer][count][inner]`.
        ofm: u32,
        /// Elements before the axis.
        outer: u32,
        /// Elements along it.
        extent: u32,
        /// Elements behind it.
        inner: u32,
        /// How many of the first, at most `extent`.
        count: u32,
        /// 1: the greatest come first; 0: the least.
        largest: u8,
        /// 1: of equal elements the last comes first; 0: the first.
        last_of_equals: u8,
        /// 0: f32; 1: int8.
        element: u8,
    }
}

record! {
    /// The sums or products of all reals up to each one along an axis, taken one after the other from 0 or 1.
    CumulateF32 = 56 {
        /// Source of the reals, `[outer][extent][inner]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output, of the same shape.
        ofm: u32,
        /// Elements before the axis.
        outer: u32,
        /// Elements along it.
        extent: u32,
        /// Elements behind it.
        inner: u32,
        /// 0: sums; 1: products.
        product: u8,
        /// 1: the element itself is left out.
        exclusive: u8,
        /// 1: from the end.
        reverse: u8,
    }
}

record! {
    /// The boxes of the greatest scores that overlap none chosen before, class by class: as i64, how many, then batch,
    /// class and box of each, by batch, class and falling score; zeros behind them.
    NonMaxSuppressionF32 = 57 {
        /// Source of the boxes, `[batches][count][4]` (arena, or [`super::IN_CONSTANTS`]).
        boxes: u32,
        /// Source of the scores, `[batches][classes][count]` (arena, or [`super::IN_CONSTANTS`]).
        scores: u32,
        /// Arena offset of the output, `1 + 3·batches·classes·most` numbers.
        ofm: u32,
        /// Batches.
        batches: u32,
        /// Classes.
        classes: u32,
        /// Boxes of a batch.
        count: u32,
        /// The most boxes of one class of one batch.
        most: u32,
        /// Intersection over union above which a box is left out.
        iou_threshold: f32,
        /// Only scores above this count, where `any_score` is 0.
        score_threshold: f32,
        /// 1: every score but NaN counts.
        any_score: u8,
        /// 0: boxes are corners `[y, x, y, x]`; 1: centers and extents `[x, y, width, height]`.
        centers: u8,
    }
}

record! {
    /// How many elements differ from zero, at most `most`, and where they lie, as i64: the count, then for each of
    /// `rank` axes a row of `most` indices; zeros behind those found.
    NonZero = 58 {
        /// Source of the elements, `dims` in row-major order (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output, `1 + rank·most` numbers.
        ofm: u32,
        /// Shape, outermost first; 1 from `rank` on.
        dims: [u32; 5],
        /// The most elements found.
        most: u32,
        /// Axes, 0 to 5.
        rank: u8,
        /// Bytes of an element: 1, 2, 4 or 8.
        element_bytes: u8,
        /// 1: a zero may have a sign, in its last bit.
        is_real: u8,
        /// What stands for zero in elements of 1 byte.
        zero: i8,
    }
}
