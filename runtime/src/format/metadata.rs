//! The metadata section: what a caller must know about a model, written and read in one place.
//!
//! Numbers are little-endian and unaligned; a *text* is `u16` bytes, then UTF-8.
//!
//! ```text
//! inputs: u8, outputs: u8, labels: u16, preprocessing: u16
//! model name: text, model version: text, producer: text, target name: text
//! inputs, then outputs, each:
//!     name: text
//!     stored dtype: u8, model dtype: u8, layout: u8, rank: u8
//!     scale: f32, zero point: i32, arena offset: u32, bytes: u32
//!     dims: u32[rank]
//! labels, each: text
//! preprocessing, each: key: text, value: text
//! ```

use super::record::Field;

/// Most dimensions of a port.
pub const MAX_RANK: usize = 8;

/// Element types at a blob's edge, by their stored code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
#[repr(u8)]
pub enum DType {
    I8 = 1,
    U8 = 2,
    I16 = 3,
    I32 = 4,
    I64 = 5,
    F32 = 6,
    F64 = 7,
    Bool = 8,
    U16 = 9,
    U32 = 10,
    U64 = 11,
    F16 = 12,
    BF16 = 13,
}

impl DType {
    /// The type of a stored code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::I32,
            5 => Self::I64,
            6 => Self::F32,
            7 => Self::F64,
            8 => Self::Bool,
            9 => Self::U16,
            10 => Self::U32,
            11 => Self::U64,
            12 => Self::F16,
            13 => Self::BF16,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// The order of a port's axes, by its stored code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Layout {
    /// The ONNX model's own.
    Onnx = 0,
    /// The model's axis 1, the channels, stands last.
    ChannelsLast = 1,
}

impl Layout {
    /// The layout of a stored code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Onnx),
            1 => Some(Self::ChannelsLast),
            _ => None,
        }
    }
}

/// Extents of a port, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dims {
    extents: [u32; MAX_RANK],
    rank: u8,
}

impl Dims {
    /// Dims of these extents; `None` beyond [`MAX_RANK`].
    pub fn new(extents: &[u32]) -> Option<Self> {
        let mut dims = Self {
            rank: extents.len() as u8,
            ..Self::default()
        };
        if extents.len() > MAX_RANK {
            return None;
        }
        dims.extents
            .iter_mut()
            .zip(extents)
            .for_each(|(slot, &extent)| *slot = extent);
        Some(dims)
    }

    /// The extents.
    pub fn as_slice(&self) -> &[u32] {
        self.extents.get(..self.rank.into()).unwrap_or(&self.extents)
    }
}

/// An input or output: what the caller writes or reads, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Port<'a> {
    /// The ONNX name.
    pub name: &'a str,
    /// Extents at the blob's edge, in `layout`.
    pub shape: Dims,
    /// Stored element type.
    pub dtype: DType,
    /// The element type that the ONNX model has here: a float type where hosts quantize for the user.
    pub model_dtype: DType,
    /// Order of the axes.
    pub layout: Layout,
    /// Real units of one step.
    pub scale: f32,
    /// The step that means zero.
    pub zero_point: i32,
    /// First byte within the arena.
    pub offset: u32,
    /// Bytes.
    pub bytes: u32,
}

/// The whole section, for writing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metadata<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The model's own version.
    pub version: &'a str,
    /// What wrote the model.
    pub producer: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// What the caller writes, in the model's order.
    pub inputs: &'a [Port<'a>],
    /// What the caller reads, in the model's order.
    pub outputs: &'a [Port<'a>],
    /// Class names, in the order of the output's classes.
    pub labels: &'a [&'a str],
    /// How raw data becomes an input, as keys and values.
    pub preprocessing: &'a [(&'a str, &'a str)],
}

impl Metadata<'_> {
    /// Hands the section's bytes to `sink`, piece by piece. `None` where a count or a text is too long for its
    /// field; the section is then of no use.
    pub fn write(&self, sink: &mut impl FnMut(&[u8])) -> Option<()> {
        sink(&[
            u8::try_from(self.inputs.len()).ok()?,
            u8::try_from(self.outputs.len()).ok()?,
        ]);
        sink(&u16::try_from(self.labels.len()).ok()?.to_le_bytes());
        sink(&u16::try_from(self.preprocessing.len()).ok()?.to_le_bytes());
        for text in [self.model, self.version, self.producer, self.target] {
            write_text(text, sink)?;
        }
        for port in self.inputs.iter().chain(self.outputs) {
            write_text(port.name, sink)?;
            sink(&[
                port.dtype as u8,
                port.model_dtype as u8,
                port.layout as u8,
                port.shape.rank,
            ]);
            sink(&port.scale.to_le_bytes());
            sink(&port.zero_point.to_le_bytes());
            sink(&port.offset.to_le_bytes());
            sink(&port.bytes.to_le_bytes());
            port.shape
                .as_slice()
                .iter()
                .for_each(|extent| sink(&extent.to_le_bytes()));
        }
        self.labels.iter().try_for_each(|label| write_text(label, sink))?;
        self.preprocessing.iter().try_for_each(|(key, value)| {
            write_text(key, sink)?;
            write_text(value, sink)
        })
    }
}

/// Hands a text's bytes to `sink`; `None` beyond 65,535 of them. Also the form of the names section's entries.
pub fn write_text(text: &str, sink: &mut impl FnMut(&[u8])) -> Option<()> {
    sink(&u16::try_from(text.len()).ok()?.to_le_bytes());
    sink(text.as_bytes());
    Some(())
}

/// Takes a text off the front of `bytes`.
#[inline(never)]
pub(crate) fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::take(bytes)?;
    let (text, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    Some(text)
}

/// A text as a string; empty where it is not UTF-8.
pub(crate) fn as_str(text: &[u8]) -> &str {
    core::str::from_utf8(text).unwrap_or_default()
}

/// A port without its name's text having been looked at.
#[derive(Clone, Copy)]
pub(crate) struct RawPort<'a> {
    pub(crate) name: &'a [u8],
    codes: [u8; 3],
    dims: Dims,
    scale: u32,
    zero_point: i32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

impl<'a> RawPort<'a> {
    /// Takes a port off the front of `bytes`.
    #[inline(never)]
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let name = take_text(bytes)?;
        let codes = Field::take(bytes)?;
        let mut dims = Dims {
            rank: u8::take(bytes)?,
            ..Dims::default()
        };
        let (scale, zero_point, offset, port_bytes) = (
            u32::take(bytes)?,
            i32::take(bytes)?,
            u32::take(bytes)?,
            u32::take(bytes)?,
        );
        for extent in dims.extents.get_mut(..dims.rank.into())? {
            *extent = u32::take(bytes)?;
        }
        Some(Self {
            name,
            codes,
            dims,
            scale,
            zero_point,
            offset,
            bytes: port_bytes,
        })
    }

    /// Whether codes are known and the bytes are those of the shape.
    pub(crate) fn is_valid(&self) -> bool {
        let [dtype, model_dtype, layout] = self.codes;
        let Some(dtype) = DType::from_code(dtype) else {
            return false;
        };
        let bytes = self
            .dims
            .as_slice()
            .iter()
            .try_fold(dtype.bytes(), |n, &extent| n.checked_mul(extent));
        DType::from_code(model_dtype).is_some()
            && Layout::from_code(layout).is_some()
            && self.bytes > 0
            && bytes == Some(self.bytes)
    }

    /// The port; unknown codes, which [`RawPort::is_valid`] refuses, read as the first of their kind.
    pub(crate) fn port(&self) -> Port<'a> {
        let [dtype, model_dtype, layout] = self.codes;
        Port {
            name: as_str(self.name),
            shape: self.dims,
            dtype: DType::from_code(dtype).unwrap_or(DType::I8),
            model_dtype: DType::from_code(model_dtype).unwrap_or(DType::I8),
            layout: Layout::from_code(layout).unwrap_or(Layout::Onnx),
            scale: f32::from_bits(self.scale),
            zero_point: self.zero_point,
            offset: self.offset,
            bytes: self.bytes,
        }
    }
}
