//! One direction of an LSTM over int8, products with its input included: `c' = f·c + i·g`, `h' = o·tanh(c')`, with the gates
//! `i, o, f = σ(z)`, `g = tanh(z)` of `z = W·x + R·h + b`.
//!
//! Layouts: input `[steps][batch][features]`, first states `[batch][hidden]`, output `[steps + 1][batch][hidden]` or
//! `[batch][hidden]`. Never in place. Samples run one after the other; the room to work in holds one sample's
//! `c: i32[hidden]`, `h: i16[hidden]` and the next `h`.
//!
//! # Numbers
//!
//! All arithmetic is of whole numbers; `⌊x⌉` rounds to nearest, ties toward +∞.
//!
//! | what | unit | how it comes about |
//! |---|---|---|
//! | `h` | 2^−15 | `⌊(q − zp)·multiplier·2^−shift⌉` of a first state's codes; both ends saturate at ±32767 |
//! | `c` | 2^−20 | the same, saturating at ±(2^31 − 1) |
//! | `z` | 2^−16 | `⌊Σ W·(x − zp)·multiplier·2^−shift⌉ + ⌊Σ R·h·multiplier·2^−shift⌉ + bias`, limited to ±16 |
//! | `tanh` | 2^−16 | between neighbours of the table of `tanh(k/64)`, linear, cut toward zero; 65535 from 8 on; odd |
//! | `σ` | 2^−16 | `(1 + tanh(z / 2)) / 2`, both halves cut down |
//! | `c'` | 2^−20 | `⌊f·c + i·g⌉`, saturating |
//! | `h'` | 2^−15 | `⌊o·tanh(⌊c'⌉)⌉`, with `c'` in units of 2^−16 |
//!
//! The output is `requantize` of `h`, or of `c`. Against the same layer in reals, of the same int8 weights, inputs and first
//! states, tanh errs by less than 2^−14 (2.4·10^−5 between the table's points), `z` by 2^−15 and its factors' 2^−24.

use super::{Extent, Extents, Kernel, product, source, sources, work_of};
use crate::arena::Memory;
use crate::arith::{FixedScale, Rounding, requantize, round_shift};
use crate::format::Lstm;
use crate::kernels::kernel_of;

/// Entries of the table of hyperbolic tangents, 64 to one.
pub const TANH_ENTRIES: usize = 513;
/// Bytes of them.
const TANH_BYTES: usize = 2 * TANH_ENTRIES;
/// Bytes of a row's numbers in the constants block, without its weights.
const ROW_BYTES: u32 = 14;
/// Bytes of room to work in for each element of the state.
pub const STATE_BYTES: u32 = 8;
/// Bits of multipliers, so that they and any sum fit 64.
pub const MULTIPLIER_BITS: u32 = 24;
/// The widest input.
pub const MOST_FEATURES: u32 = 1 << 16;
/// The widest state.
pub const MOST_HIDDEN: u32 = 1 << 15;
/// The farthest that a gate's sum lies from zero.
const FARTHEST: i64 = 16 << 16;

/// The kernel of [`Lstm`].
pub const fn kernel() -> Kernel {
    kernel_of!(Lstm, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Lstm::read(fields)?;
    let extents = layer.extents()?;
    let [Some(ifm), Some(h), Some(c), _] = extents.sources else {
        return None;
    };
    let constants = layer.parts(memory.constants(extents.constants)?)?;
    let (hidden, batch, steps) = (layer.hidden as usize, layer.batch as usize, layer.steps as usize);
    let room = extents.state?;
    let features = layer.features as usize;
    for sample in 0..batch {
        for j in 0..hidden {
            let at = sample.wrapping_mul(hidden).wrapping_add(j);
            let code = |memory: &Memory<'_>, source| Some(i32::from(*memory.source(source)?.get(at)? as i8));
            let first_h = scaled(
                code(memory, h)?.wrapping_sub(layer.h_zero_point.into()).into(),
                layer.h_multiplier,
                layer.h_shift,
            );
            let first_c = scaled(
                code(memory, c)?.wrapping_sub(layer.c_zero_point.into()).into(),
                layer.c_multiplier,
                layer.c_shift,
            );
            let mut room = Room::new(memory.output(room)?, hidden)?;
            room.set_c(j, first_c)?;
            *room.h.get_mut(j)? = narrow(first_h).to_le_bytes();
        }
        for step in 0..steps {
            let at = match layer.backward {
                0 => step,
                _ => steps.wrapping_sub(1).wrapping_sub(step),
            };
            let row = at.wrapping_mul(batch).wrapping_add(sample);
            let first = row.wrapping_mul(features);
            for j in 0..hidden {
                let x = memory.source(ifm)?.get(first..first.wrapping_add(features))?;
                let h = Sums {
                    x,
                    h: memory
                        .source(room)?
                        .get(hidden.wrapping_mul(4)..)?
                        .as_chunks()
                        .0
                        .get(..hidden)?,
                };
                let gate = |gate: usize| {
                    let row = gate.wrapping_mul(hidden).wrapping_add(j);
                    constants.gate(&layer, row, &h)
                };
                let (input, output, forget) = (sigmoid(gate(0)?, &constants)?, gate(1)?, gate(2)?);
                let (output, forget) = (sigmoid(output, &constants)?, sigmoid(forget, &constants)?);
                let new = tanh(gate(3)?, &constants)?;
                let mut room = Room::new(memory.output(room)?, hidden)?;
                let kept = i64::from(forget).wrapping_mul(room.c(j)?.into());
                let added = i64::from(input).wrapping_mul(new.into()) << 4;
                let c = round_shift(kept.wrapping_add(added), 16, Rounding::Up);
                room.set_c(j, c)?;
                let within = round_shift(room.c(j)?.into(), 4, Rounding::Up);
                let h = i64::from(output).wrapping_mul(tanh(within, &constants)?.into());
                *room.next.get_mut(j)? = narrow(round_shift(h, 17, Rounding::Up)).to_le_bytes();
            }
            let room = Room::new(memory.output(room)?, hidden)?;
            room.h.iter_mut().zip(room.next).for_each(|(h, next)| *h = *next);
            if layer.cell == 0 {
                layer.give(memory, &extents, row)?;
            }
        }
        let last = if layer.cell == 0 { steps } else { 0 };
        layer.give(memory, &extents, last.wrapping_mul(batch).wrapping_add(sample))?;
    }
    Some(extents.output)
}

/// `value·multiplier·2^−shift` to nearest.
fn scaled(value: i64, multiplier: i32, shift: u8) -> i64 {
    round_shift(value.wrapping_mul(multiplier.into()), shift.into(), Rounding::Up)
}

/// An `h`, saturating.
fn narrow(h: i64) -> i16 {
    h.clamp(-32767, 32767) as i16
}

/// Between neighbours of the table.
fn tanh(z: i64, constants: &Parts<'_>) -> Option<i32> {
    let magnitude = z.unsigned_abs();
    let (index, part) = ((magnitude >> 10) as usize, (magnitude & 1023) as u32);
    let value = match constants.tanh.get(index..) {
        Some([low, high, ..]) => {
            let (low, high) = (u16::from_le_bytes(*low), u16::from_le_bytes(*high));
            let rise = u32::from(high.saturating_sub(low)).wrapping_mul(part) >> 10;
            u32::from(low).wrapping_add(rise) as i32
        }
        _ => 65535,
    };
    Some(if z < 0 { value.wrapping_neg() } else { value })
}

fn sigmoid(z: i64, constants: &Parts<'_>) -> Option<i32> {
    Some((1i32 << 16).wrapping_add(tanh(z >> 1, constants)?) >> 1)
}

/// What a gate's sum is made of.
struct Sums<'a> {
    x: &'a [u8],
    h: &'a [[u8; 2]],
}

/// A constants block.
struct Parts<'a> {
    tanh: &'a [[u8; 2]],
    biases: &'a [[u8; 4]],
    ifm_multipliers: &'a [[u8; 4]],
    h_multipliers: &'a [[u8; 4]],
    ifm_shifts: &'a [u8],
    h_shifts: &'a [u8],
    weights: &'a [u8],
    recurrence: &'a [u8],
}

impl Parts<'_> {
    /// `z` of a row.
    fn gate(&self, layer: &Lstm, row: usize, sums: &Sums<'_>) -> Option<i64> {
        let weights = |block: &'_ [u8], length: usize| {
            let first = row.wrapping_mul(length);
            first..first.wrapping_add(length).min(block.len())
        };
        let of_x = self.weights.get(weights(self.weights, sums.x.len()))?;
        let of_x = of_x.iter().zip(sums.x).fold(0i32, |sum, (&weight, &x)| {
            let steps = i32::from(x as i8).wrapping_sub(layer.ifm_zero_point.into());
            sum.wrapping_add(i32::from(weight as i8).wrapping_mul(steps))
        });
        let of_h = self.recurrence.get(weights(self.recurrence, sums.h.len()))?;
        let of_h = of_h.iter().zip(sums.h).fold(0i64, |sum, (&weight, &h)| {
            let product = i32::from(weight as i8).wrapping_mul(i16::from_le_bytes(h).into());
            sum.wrapping_add(product.into())
        });
        let number = |list: &[[u8; 4]]| Some(i32::from_le_bytes(*list.get(row)?));
        let z = scaled(
            of_x.into(),
            number(self.ifm_multipliers)?,
            *self.ifm_shifts.get(row)?,
        )
        .wrapping_add(scaled(
            of_h,
            number(self.h_multipliers)?,
            *self.h_shifts.get(row)?,
        ))
        .wrapping_add(number(self.biases)?.into());
        Some(z.clamp(-FARTHEST, FARTHEST))
    }
}

/// The room to work in.
struct Room<'a> {
    c: &'a mut [[u8; 4]],
    h: &'a mut [[u8; 2]],
    next: &'a mut [[u8; 2]],
}

impl<'a> Room<'a> {
    fn new(bytes: &'a mut [u8], hidden: usize) -> Option<Self> {
        let (c, rest) = bytes.split_at_mut_checked(hidden.checked_mul(4)?)?;
        let (h, next) = rest.split_at_mut_checked(hidden.checked_mul(2)?)?;
        Some(Self {
            c: c.as_chunks_mut().0,
            h: h.as_chunks_mut().0,
            next: next.as_chunks_mut().0,
        })
    }

    fn c(&self, j: usize) -> Option<i32> {
        Some(i32::from_le_bytes(*self.c.get(j)?))
    }

    fn set_c(&mut self, j: usize, c: i64) -> Option<()> {
        let most = i64::from(i32::MAX);
        *self.c.get_mut(j)? = (c.clamp(-most, most) as i32).to_le_bytes();
        Some(())
    }
}

impl Lstm {
    /// Writes the state, or the cell, to a row of the output.
    fn give(&self, memory: &mut Memory<'_>, extents: &Extents, row: usize) -> Option<()> {
        let hidden = self.hidden as usize;
        let [output, room] = memory.two(extents.output, extents.state?)?;
        let room = Room::new(room, hidden)?;
        let first = row.wrapping_mul(hidden);
        let scale = self.scale();
        let codes = output.get_mut(first..first.wrapping_add(hidden))?;
        for ((slot, c), h) in codes.iter_mut().zip(room.c).zip(room.h) {
            let acc = match self.cell {
                0 => i16::from_le_bytes(*h).into(),
                _ => i32::from_le_bytes(*c),
            };
            *slot = requantize(acc, scale, self.ofm_zero_point, i8::MIN, i8::MAX) as u8;
        }
        Some(())
    }

    fn scale(&self) -> FixedScale {
        FixedScale::from_stored(self.multiplier, self.shift)
    }

    /// The parts of a constants block.
    fn parts<'a>(&self, block: &'a [u8]) -> Option<Parts<'a>> {
        let rows = (self.hidden as usize).checked_mul(4)?;
        let words = rows.checked_mul(4)?;
        let (tanh, rest) = block.split_at_checked(TANH_BYTES)?;
        let (biases, rest) = rest.split_at_checked(words)?;
        let (ifm_multipliers, rest) = rest.split_at_checked(words)?;
        let (h_multipliers, rest) = rest.split_at_checked(words)?;
        let (ifm_shifts, rest) = rest.split_at_checked(rows)?;
        let (h_shifts, rest) = rest.split_at_checked(rows)?;
        let (weights, recurrence) = rest.split_at_checked(rows.checked_mul(self.features as usize)?)?;
        Some(Parts {
            tanh: tanh.as_chunks().0,
            biases: biases.as_chunks().0,
            ifm_multipliers: ifm_multipliers.as_chunks().0,
            h_multipliers: h_multipliers.as_chunks().0,
            ifm_shifts,
            h_shifts,
            weights,
            recurrence,
        })
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let region = |offset: u32, extents: &[u32]| {
            let bytes = product(extents)?;
            Some(Extent { offset, bytes })
        };
        let state = [self.batch, self.hidden];
        let given = if self.cell == 0 {
            self.steps.checked_add(1)?
        } else {
            1
        };
        let rows = self.hidden.checked_mul(4)?;
        let row_bytes = self.features.checked_add(self.hidden)?.checked_add(ROW_BYTES)?;
        let block = rows.checked_mul(row_bytes)?.checked_add(TANH_BYTES as u32)?;
        Some(Extents {
            sources: sources([
                region(self.ifm, &[self.steps, self.batch, self.features])?,
                region(self.h, &state)?,
                region(self.c, &state)?,
            ]),
            output: region(self.ofm, &[given, self.batch, self.hidden])?,
            constants: Some(Extent {
                offset: self.constants,
                bytes: block,
            }),
            state: Some(region(self.state, &[self.hidden, STATE_BYTES])?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let taps = u64::from(self.features).checked_add(self.hidden.into())?;
        work_of(&[self.steps, self.batch, 4, self.hidden])?.checked_mul(taps)
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let is_sound = |multiplier: i32, shift: u8| {
            multiplier >= 0 && multiplier >> MULTIPLIER_BITS == 0 && (1..=62).contains(&shift)
        };
        let are_sound =
            |(multiplier, shift): (&[u8; 4], &u8)| is_sound(i32::from_le_bytes(*multiplier), *shift);
        ![self.steps, self.batch, self.features, self.hidden].contains(&0)
            && self.features <= MOST_FEATURES
            && self.hidden <= MOST_HIDDEN
            && self.backward <= 1
            && self.cell <= 1
            && self.scale().is_valid()
            && is_sound(self.h_multiplier, self.h_shift)
            && is_sound(self.c_multiplier, self.c_shift)
            && self.parts(constants).is_some_and(|parts| {
                parts.ifm_multipliers.iter().zip(parts.ifm_shifts).all(are_sound)
                    && parts.h_multipliers.iter().zip(parts.h_shifts).all(are_sound)
            })
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, state: u32) {
        self.ifm = source(sources, 0);
        self.h = source(sources, 1);
        self.c = source(sources, 2);
        self.ofm = ofm;
        self.constants = constants;
        self.state = state;
    }
}
