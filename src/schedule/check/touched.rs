//! Which bytes a record touches, one by one.

use tinsmith_runtime::kernels::MAX_SOURCES;

use tinsmith_runtime::format::IN_CONSTANTS;
use tinsmith_runtime::kernels::{Extent, Layer};

use crate::op::KernelCall;

/// The bytes of one source or output, in the order the record counts them.
pub(super) struct Region {
    /// First byte and bytes of the smallest region that holds all.
    pub(super) extent: (i64, u32),
    /// Whether it lies in the constants section.
    pub(super) in_constants: bool,
    bytes: Vec<i64>,
}

impl Region {
    fn new(extent: Extent, shift: i64, strided: Option<Strided<'_>>) -> Self {
        let first = i64::from(extent.offset & !IN_CONSTANTS) - shift;
        let bytes = match strided {
            Some(strided) => strided.bytes(-shift),
            None => (first..first + i64::from(extent.bytes)).collect(),
        };
        Self {
            extent: (first, extent.bytes),
            in_constants: extent.in_constants(),
            bytes,
        }
    }

    /// Whether no byte is between the ends of both.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let end = |region: &Self| region.extent.0 + i64::from(region.extent.1);
        end(self) <= other.extent.0 || end(other) <= self.extent.0
    }

    /// Every byte. Two regions of one record under different offsets list corresponding bytes.
    pub(super) fn bytes(&self) -> impl Iterator<Item = i64> {
        self.bytes.iter().copied()
    }
}

/// The elements of a strided copy's one side.
struct Strided<'a> {
    first: u32,
    dims: &'a [u32; 5],
    strides: &'a [i32; 5],
    element_bytes: u8,
}

impl Strided<'_> {
    fn bytes(&self, shift: i64) -> Vec<i64> {
        let mut elements = vec![0i64];
        for (&extent, &stride) in self.dims.iter().zip(self.strides) {
            let steps = move |from: i64| (0..i64::from(extent)).map(move |i| from + i * i64::from(stride));
            elements = elements.into_iter().flat_map(steps).collect();
        }
        let width = i64::from(self.element_bytes);
        let first = i64::from(self.first & !IN_CONSTANTS) + shift;
        elements
            .into_iter()
            .flat_map(|element| (0..width).map(move |i| first + element * width + i))
            .collect()
    }
}

/// Everything a record touches, byte by byte.
pub(super) struct Touched {
    pub(super) sources: Vec<Region>,
    pub(super) in_place: [bool; MAX_SOURCES],
    pub(super) output: Region,
    pub(super) constants: Option<(u32, u32)>,
    pub(super) state: Option<(u32, u32)>,
}

impl Touched {
    /// What a bound record touches.
    pub(super) fn of(layer: &Layer) -> Option<Self> {
        Self::shifted(layer, 0)
    }

    /// What a call's record touches, relative to where each of its regions starts.
    pub(super) fn unbound(call: &KernelCall) -> Option<Self> {
        // Far from both ends of the offsets, so that negative strides stay representable.
        const FAR: u32 = 1 << 30;
        let mut layer = call.layer;
        layer.bind(&[FAR; MAX_SOURCES], FAR, 0, 0);
        Self::shifted(&layer, FAR.into())
    }

    fn shifted(layer: &Layer, shift: i64) -> Option<Self> {
        let extents = layer.extents()?;
        let (mut from, mut to) = (None, None);
        if let Layer::StridedCopy(copy) = layer {
            let side = |first, strides| Strided {
                first,
                dims: &copy.dims,
                strides,
                element_bytes: copy.element_bytes,
            };
            from = Some(side(copy.ifm, &copy.ifm_strides));
            to = Some(side(copy.ofm, &copy.ofm_strides));
        }
        if let Layer::Rescale16(copy) = layer {
            let side = |first, strides, element_bytes| Strided {
                first,
                dims: &copy.dims,
                strides,
                element_bytes,
            };
            from = Some(side(copy.ifm, &copy.ifm_strides, copy.ifm_bytes));
            to = Some(side(copy.ofm, &copy.ofm_strides, copy.ofm_bytes));
        }
        let mut sources = Vec::new();
        for extent in extents.sources.into_iter().flatten() {
            sources.push(Region::new(extent, shift, from.take()));
        }
        Some(Self {
            sources,
            in_place: extents.in_place,
            output: Region::new(extents.output, shift, to),
            constants: extents.constants.map(|extent| (extent.offset, extent.bytes)),
            state: extents.state.map(|extent| (extent.offset, extent.bytes)),
        })
    }
}
