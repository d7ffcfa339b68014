//! Reads one line of a text graph from left to right.

use std::str::FromStr;

use super::is_plain;
use super::parse::{ParseErrorKind, TensorParts};
use crate::op::Op;

use crate::op::quant::{QuantParams, Quantization};
use crate::op::tensor::{DType, Data, TensorType, Values};

/// The most elements a tensor of a text may have, so that a short text cannot ask for all memory.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// Something else was found where `wanted` should stand.
pub(super) fn syntax(wanted: &'static str, found: &str) -> ParseErrorKind {
    ParseErrorKind::Syntax {
        wanted,
        found: found.chars().take(40).collect(),
    }
}

/// What is left of a line; every method eats the blanks behind what it read.
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        let mut cursor = Self { rest: line };
        cursor.skip_blanks();
        cursor
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn starts_with(&self, token: char) -> bool {
        self.rest.starts_with(token)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with("//") {
            self.rest = "";
        }
    }

    pub(super) fn unexpected(&self, wanted: &'static str) -> ParseErrorKind {
        syntax(wanted, self.rest)
    }

    /// Moves on by `bytes`, which end on a character's border, and gives what was passed.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.skip_blanks();
        passed
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    pub(super) fn accept(&mut self, token: &str) -> bool {
        let found = self.rest.starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    pub(super) fn expect(&mut self, token: &'static str) -> Result<(), ParseErrorKind> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(self.unexpected(token))
        }
    }

    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn number<N: FromStr>(&mut self, wanted: &'static str) -> Result<N, ParseErrorKind> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        text.parse().map_err(|_| syntax(wanted, text))
    }

    /// A JSON value, in its serde form.
    fn json(&mut self, wanted: &'static str) -> Result<serde_json::Value, ParseErrorKind> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter();
        match stream.next() {
            Some(Ok(value)) => {
                let end = stream.byte_offset();
                self.advance(end);
                Ok(value)
            }
            Some(Err(_)) | None => Err(self.unexpected(wanted)),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, ParseErrorKind> {
        const WANTED: &str = "a text in double quotes";
        if !self.rest.starts_with('"') {
            return Err(self.unexpected(WANTED));
        }
        match self.json(WANTED)? {
            serde_json::Value::String(text) => Ok(text),
            other => Err(syntax(WANTED, &other.to_string())),
        }
    }

    pub(super) fn tensor_name(&mut self) -> Result<String, ParseErrorKind> {
        const WANTED: &str = "a tensor such as `%x`";
        let Some(rest) = self.rest.strip_prefix('%') else {
            return Err(self.unexpected(WANTED));
        };
        self.rest = rest;
        if rest.starts_with('"') {
            return self.string();
        }
        match self.take_while(is_plain) {
            "" => Err(self.unexpected(WANTED)),
            name => Ok(name.into()),
        }
    }

    pub(super) fn tensor(&mut self) -> Result<TensorParts, ParseErrorKind> {
        let name = self.tensor_name()?;
        self.tensor_type(name)
    }

    /// `: f32[1,2] scale 0.5 zero_point 3 model f32`, the parts behind the type being optional.
    pub(super) fn tensor_type(&mut self, name: String) -> Result<TensorParts, ParseErrorKind> {
        self.expect(":")?;
        let dtype = self.dtype()?;
        let shape = self.list("an extent")?;
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &extent: &usize| product.checked_mul(extent));
        if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            return Err(ParseErrorKind::TooLarge);
        }
        let quantization = if self.accept("scale ") {
            let scale = self.number("a scale")?;
            self.expect("zero_point ")?;
            let zero_point = self.number("a zero point")?;
            Some(Quantization::PerTensor(QuantParams { scale, zero_point }))
        } else if self.accept("axis ") {
            let axis = self.number("an axis")?;
            self.expect("scales ")?;
            if self.rest.starts_with("summary") {
                return Err(ParseErrorKind::Summary);
            }
            let scales = self.list("a scale")?;
            Some(Quantization::PerChannel { axis, scales })
        } else if self.accept("block ") {
            let block = self.number("the numbers of a block")?;
            self.expect("scales ")?;
            if self.rest.starts_with("summary") {
                return Err(ParseErrorKind::Summary);
            }
            let scales = self.list("a scale")?;
            self.expect("factors ")?;
            if self.rest.starts_with("summary") {
                return Err(ParseErrorKind::Summary);
            }
            let factors = self.list("a factor")?;
            Some(Quantization::PerBlock {
                scales,
                block,
                factors,
            })
        } else {
            None
        };
        let model_dtype = if self.accept("model ") {
            Some(self.dtype()?)
        } else {
            None
        };
        Ok(TensorParts {
            name,
            ty: TensorType { shape, dtype },
            quantization,
            model_dtype,
            data: None,
        })
    }

    fn dtype(&mut self) -> Result<DType, ParseErrorKind> {
        let word = self.word();
        word.parse().map_err(|_| syntax("an element type", word))
    }

    /// `[1, 2, 3]`
    fn list<N: FromStr>(&mut self, wanted: &'static str) -> Result<Vec<N>, ParseErrorKind> {
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.accept("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.number(wanted)?);
        }
        Ok(items)
    }

    pub(super) fn operator(&mut self) -> Result<Op, ParseErrorKind> {
        let name = self.word();
        let fields = if self.rest.starts_with('{') {
            self.json("an operator's fields in JSON")?
        } else {
            serde_json::Value::Object(serde_json::Map::new())
        };
        let tagged = serde_json::Map::from_iter([(name.to_owned(), fields)]);
        serde_json::from_value(tagged.into()).map_err(|error| ParseErrorKind::Operator {
            reason: error.to_string(),
        })
    }

    /// The elements of a constant of this type.
    pub(super) fn values(&mut self, ty: &TensorType) -> Result<Values, ParseErrorKind> {
        let data = if self.rest.starts_with('[') {
            self.elements(ty.dtype)?
        } else {
            let (len, signed) = (ty.len(), ty.dtype != DType::U8);
            let reals: Vec<f64> = match self.word() {
                "zeros" => vec![0.0; len],
                "ones" => vec![1.0; len],
                "full" => vec![self.number("a number")?; len],
                "ramp" => {
                    let unit = if ty.dtype.is_float() { 8.0 } else { 1.0 };
                    let shift = if signed { 14 } else { 0 };
                    (0..len as i64)
                        .map(|i| ((7 * i) % 29 - shift) as f64 / unit)
                        .collect()
                }
                "summary" => return Err(ParseErrorKind::Summary),
                word => return Err(syntax("elements, `zeros`, `ones`, `full V` or `ramp`", word)),
            };
            from_reals(ty.dtype, &reals)
        };
        if data.len() == ty.len() {
            Ok(Values::new(ty.shape.clone(), data))
        } else {
            Err(ParseErrorKind::Elements {
                ty: ty.to_string(),
                wanted: ty.len(),
                found: data.len(),
            })
        }
    }

    fn elements(&mut self, dtype: DType) -> Result<Data, ParseErrorKind> {
        Ok(match dtype {
            DType::F32 => Data::F32(self.list("an f32")?),
            DType::F64 => Data::F64(self.list("an f64")?),
            DType::I8 => Data::I8(self.list("an i8")?),
            DType::U8 => Data::U8(self.list("a u8")?),
            DType::I16 => Data::I16(self.list("an i16")?),
            DType::U16 => Data::U16(self.list("a u16")?),
            DType::I32 => Data::I32(self.list("an i32")?),
            DType::U32 => Data::U32(self.list("a u32")?),
            DType::U64 => Data::U64(self.list("a u64")?),
            DType::F16 => Data::F16(self.list("an f16")?),
            DType::BF16 => Data::BF16(self.list("a bf16")?),
            DType::Narrow(narrow) => Data::Narrow(narrow, self.list("a code")?),
            DType::I64 => Data::I64(self.list("an i64")?),
            DType::Bool => Data::Bool(self.list("true or false")?),
        })
    }
}

/// The reals in another element type; what does not fit saturates.
fn from_reals(dtype: DType, reals: &[f64]) -> Data {
    Data::F64(reals.to_vec()).cast(dtype)
}
