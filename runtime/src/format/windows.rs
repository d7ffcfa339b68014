//! Records of windows over up to three spatial axes and of resampling; their opcodes start at 62.

use super::record::{Field, fields, record};

fields! {
    /// A window over three spatial axes of a channels-last tensor. Tap `k` of output `o` lies at
    /// `(o·stride + k·dilation − pad) / spread` along each axis, where that is whole and inside the input; all other
    /// taps read zero. Fewer axes have extents of 1 in front.
    Window3 {
        /// Input extents, outermost first.
        ifm: [u16; 3],
        /// Output extents.
        ofm: [u16; 3],
        /// Kernel extents.
        kernel: [u16; 3],
        /// Elements from one output to the next.
        strides: [u16; 3],
        /// Elements from one tap to the next.
        dilations: [u16; 3],
        /// Elements from one element of the input to the next: the stride of a transposed convolution, else 1.
        spread: [u16; 3],
        /// Elements before the input.
        pads: [i32; 3],
    }
}

record! {
    /// A convolution of reals over up to three spatial axes, with weights and biases from anywhere:
    /// `ofm[n][…][o] = clamp(Σ ifm[n][…][i]·weights[o][…][i] + bias[o])`.
    ConvNdF32 = 62 {
        /// Source of the input, `[images][…][in_c]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the weights, `[out_c][…][in_c / groups]` (arena, or [`super::IN_CONSTANTS`]).
        weights: u32,
        /// Source of the biases, `[out_c]` (arena, or [`super::IN_CONSTANTS`]).
        bias: u32,
        /// Arena offset of the output, `[images][…][out_c]`.
        ofm: u32,
        /// Images.
        images: u32,
        /// Extents, strides, padding.
        window: Window3,
        /// Input channels.
        in_c: u32,
        /// Output channels.
        out_c: u32,
        /// Channel groups; `in_c` and `out_c` are multiples of it.
        groups: u32,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
    }
}

record! {
    /// A convolution of int8 over up to three spatial axes: `ofm[n][…][o] = requantize(bias[o] + Σ ifm[…]·weights[…])`.
    /// Taps outside the input and between its elements read the input's zero point.
    ///
    /// Constants block as [`super::Conv2d`]'s, the weights `[out_c][…][in_c / groups]`.
    ConvNd = 63 {
        /// Arena offset of the input, `[images][…][in_c]`.
        ifm: u32,
        /// Arena offset of the output, `[images][…][out_c]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Images.
        images: u32,
        /// Extents, strides, padding.
        window: Window3,
        /// Input channels.
        in_c: u32,
        /// Output channels.
        out_c: u32,
        /// Channel groups; `in_c` and `out_c` are multiples of it.
        groups: u32,
        /// What padding taps read.
        ifm_zero_point: i8,
        /// Added after the rescale.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// As [`super::Conv2d::left_shift`].
        left_shift: u8,
    }
}

record! {
    /// Where the largest real of each window lies: its index in the whole input, as i64; −1 where all is padding. The
    /// first one of several, NaN before all.
    MaxPoolIndicesF32 = 64 {
        /// Arena offset of the input, channels first: `[planes][…]`.
        ifm: u32,
        /// Arena offset of the output, `[planes][…]`, 8 bytes each.
        ofm: u32,
        /// Images times channels.
        planes: u32,
        /// Extents, strides, padding; no spread.
        window: Window3,
        /// 0: positions in a plane count row-major; 1: column-major.
        column_major: u8,
    }
}

record! {
    /// Weighted sums of reals along one axis: `ofm[o][j][i] = Σ_t weights[j][t]·ifm[o][sources[j][t]][i]`. Weights of
    /// zero take no part.
    ///
    /// Constants block: `sources: u32[outputs][taps]`, then `weights: f32[outputs][taps]`.
    ResampleF32 = 65 {
        /// Source of the input, `[outer][extent][inner]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output, `[outer][outputs][inner]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows before the axis.
        outer: u32,
        /// Elements along the axis.
        extent: u32,
        /// Elements of the output along it.
        outputs: u32,
        /// Elements of a row behind it.
        inner: u32,
        /// Taps of an output.
        taps: u32,
    }
}

record! {
    /// Samples of reals at computed places, channels first: `ofm[n][c][p] = sample(ifm[n][c], grid[n][p])`, see
    /// [`crate::sample::Grid`].
    GridSampleF32 = 66 {
        /// Source of the input, `[images][channels][…]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the points, `[images][points][axes]`, innermost coordinate first (arena, or
        /// [`super::IN_CONSTANTS`]).
        grid: u32,
        /// Arena offset of the output, `[images][channels][points]`.
        ofm: u32,
        /// Images.
        images: u32,
        /// Channels.
        channels: u32,
        /// Spatial extents, outermost first; fewer than three axes have extents of 1 in front.
        extents: [u32; 3],
        /// Points of an image.
        points: u32,
        /// Spatial axes, from 1 to 3.
        axes: u8,
        /// 0: nearest; 1: linear; 2: cubic.
        mode: u8,
        /// 0: zeros; 1: the border; 2: reflection.
        padding: u8,
        /// −1 and 1 are 0: the centres of the outermost elements; 1: their edges. 2: coordinates count elements.
        coordinates: u8,
    }
}

record! {
    /// Bins of regions of images of reals, channels first, see [`crate::sample::Regions`]. A region of an image that
    /// does not exist is NaN.
    RoiAlignF32 = 67 {
        /// Source of the input, `[images][channels][height][width]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the regions, `[regions][4]`: x1, y1, x2, y2 (arena, or [`super::IN_CONSTANTS`]).
        rois: u32,
        /// Source of the regions' images, `[regions]`, i64 (arena, or [`super::IN_CONSTANTS`]).
        indices: u32,
        /// Arena offset of the output, `[regions][channels][out_h][out_w]`.
        ofm: u32,
        /// Images.
        images: u32,
        /// Channels.
        channels: u32,
        /// Rows of an image.
        height: u32,
        /// Columns of an image.
        width: u32,
        /// Regions.
        regions: u32,
        /// Rows of bins.
        out_h: u32,
        /// Columns of bins.
        out_w: u32,
        /// Samples along each axis of a bin, at least 1.
        sampling: u32,
        /// Elements per unit of the regions' coordinates.
        scale: f32,
        /// 1: coordinates are those of edges; 0: of centres.
        half_pixel: u8,
        /// 1: the largest of a bin; 0: the mean.
        largest: u8,
    }
}

record! {
    /// Weighted sums of int8 along two neighbouring axes at once:
    /// `ofm[o][y][x][i] = requantize(Σ_s Σ_t wy[y][s]·wx[x][t]·(ifm[o][sy[y][s]][sx[x][t]][i] − ifm_zero_point))`. One axis has
    /// another of extent 1, of one tap of weight 1, before it. Where the divisor is not 0, the sum is divided by it instead of
    /// rescaled, ties to even.
    ///
    /// Constants block: pairs `(source: u16, weight: i16)[outputs][taps]` of the first axis, then those of the second.
    Resample = 68 {
        /// Arena offset of the input, `[outer][extents…][inner]`.
        ifm: u32,
        /// Arena offset of the output, `[outer][outputs…][inner]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows before the axes.
        outer: u32,
        /// Elements along each axis.
        extents: [u32; 2],
        /// Elements of the output along each axis.
        outputs: [u32; 2],
        /// Taps of an output along each axis.
        taps: [u32; 2],
        /// Elements of a row behind the axes.
        inner: u32,
        /// What sums are divided by, below 2^30; 0 where they are rescaled.
        divisor: u32,
        /// The rescale's multiplier.
        multiplier: i32,
        /// The rescale's shift, stored as in a products block.
        shift: u8,
        /// As [`super::Conv2d::left_shift`].
        left_shift: u8,
        /// Zero point of the input.
        ifm_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Least code.
        min: i8,
        /// Greatest code.
        max: i8,
    }
}
