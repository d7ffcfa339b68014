//! One direction of an RNN, a GRU or an LSTM over reals.
//!
//! Layouts: gates `[steps][batch][gates·hidden]`, recurrence `[gates·hidden][hidden]`, side `h [batch][hidden]`,
//! `c [batch][hidden]`, bias `[hidden]`, peepholes `[3][hidden]`; output `[steps + 2][batch][hidden]`, whose last two
//! rows hold the state while it runs: `h`, and an LSTM's `c` or what a GRU's reset leaves of `h`. Never in place.

use super::exp::exp;
use super::{Word, region, words, words_mut};
use crate::arena::Memory;
use crate::format::RecurrentF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources, work_of};

/// The kernel of [`RecurrentF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(RecurrentF32, run)
}

/// Cells.
const GRU: u8 = 1;
const LSTM: u8 = 2;

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = RecurrentF32::read(fields)?;
    let extents = layer.extents()?;
    let [Some(gates), Some(recurrence), Some(side), _] = extents.sources else {
        return None;
    };
    let (batch, hidden, steps) = (layer.batch as usize, layer.hidden as usize, layer.steps as usize);
    for slot in words_mut(memory.output(extents.output)?) {
        *slot = [0; 4];
    }
    for sample in 0..batch {
        let length = words(memory.constants(extents.constants)?).get(sample)?;
        let length = u32::from_le_bytes(*length) as usize;
        let mut cell = At {
            layer,
            gates,
            recurrence,
            side,
            output: extents.output,
            hidden,
            x: 0,
            y: 0,
            h: steps
                .wrapping_mul(batch)
                .wrapping_add(sample)
                .wrapping_mul(hidden),
            c: steps
                .wrapping_add(1)
                .wrapping_mul(batch)
                .wrapping_add(sample)
                .wrapping_mul(hidden),
            fixed: batch.wrapping_mul(hidden).wrapping_mul(2),
        };
        for j in 0..hidden {
            let first = sample.wrapping_mul(hidden).wrapping_add(j);
            let h = cell.read(memory, side, first)?;
            cell.write(memory, cell.h.wrapping_add(j), h)?;
            if layer.cell == LSTM {
                let c = cell.read(memory, side, first.wrapping_add(batch.wrapping_mul(hidden)))?;
                cell.write(memory, cell.c.wrapping_add(j), c)?;
            }
        }
        for step in 0..length {
            let at = match layer.backward {
                0 => step,
                _ => length.wrapping_sub(1).wrapping_sub(step),
            };
            let row = at.wrapping_mul(batch).wrapping_add(sample);
            cell.x = row.wrapping_mul(hidden).wrapping_mul(layer.gates() as usize);
            cell.y = row.wrapping_mul(hidden);
            cell.step(memory)?;
        }
        if layer.cell == GRU {
            for j in 0..hidden {
                cell.write(memory, cell.c.wrapping_add(j), 0.0)?;
            }
        }
    }
    Some(extents.output)
}

/// One sample at one step: first elements of its parts.
struct At {
    layer: RecurrentF32,
    gates: Extent,
    recurrence: Extent,
    side: Extent,
    output: Extent,
    hidden: usize,
    /// Within the gates.
    x: usize,
    /// Within the output: this step's row, the state, and what else the cell keeps.
    y: usize,
    h: usize,
    c: usize,
    /// Within the side: what does not change from sample to sample.
    fixed: usize,
}

impl At {
    fn read(&self, memory: &Memory<'_>, source: Extent, element: usize) -> Option<f32> {
        let word: &Word = words(memory.source(source)?).get(element)?;
        Some(f32::from_le_bytes(*word))
    }

    fn write(&self, memory: &mut Memory<'_>, element: usize, value: f32) -> Option<()> {
        *words_mut(memory.output(self.output)?).get_mut(element)? = value.to_le_bytes();
        Some(())
    }

    /// Element `j` of the output's row that starts at `row`.
    fn state(&self, memory: &Memory<'_>, row: usize, j: usize) -> Option<f32> {
        self.read(memory, self.output, row.wrapping_add(j))
    }

    /// A gate's weights times a row of the output.
    fn dot(&self, memory: &Memory<'_>, gate: usize, j: usize, row: usize) -> Option<f32> {
        let first = gate
            .wrapping_mul(self.hidden)
            .wrapping_add(j)
            .wrapping_mul(self.hidden);
        let weights = words(memory.source(self.recurrence)?).get(first..first.wrapping_add(self.hidden))?;
        let values = words(memory.source(self.output)?).get(row..row.wrapping_add(self.hidden))?;
        Some(super::dot(0.0, values, weights))
    }

    fn x(&self, memory: &Memory<'_>, gate: usize, j: usize) -> Option<f32> {
        let at = gate.wrapping_mul(self.hidden).wrapping_add(j);
        self.read(memory, self.gates, self.x.wrapping_add(at))
    }

    /// What a gate's function is applied to, without peepholes.
    fn gate(&self, memory: &Memory<'_>, gate: usize, j: usize) -> Option<f32> {
        Some(self.x(memory, gate, j)? + self.dot(memory, gate, j, self.h)?)
    }

    /// A peephole's share.
    fn peephole(&self, memory: &Memory<'_>, gate: usize, j: usize, c: f32) -> Option<f32> {
        let at = gate.wrapping_add(1).wrapping_mul(self.hidden).wrapping_add(j);
        Some(self.read(memory, self.side, self.fixed.wrapping_add(at))? * c)
    }

    /// Function `index` of a clipped value.
    fn act(&self, index: usize, x: f32) -> f32 {
        let pick = |list: &[f32; 3]| list.get(index).copied().unwrap_or(0.0);
        let clip = self.layer.clip;
        let x = if x > clip { clip } else { x };
        let x = if x < -clip { -clip } else { x };
        let function = self.layer.functions.get(index).copied().unwrap_or(0);
        activation(function, x, pick(&self.layer.alphas), pick(&self.layer.betas))
    }

    /// Computes a step's row, and makes it the state.
    fn step(&self, memory: &mut Memory<'_>) -> Option<()> {
        if self.layer.cell == GRU {
            for j in 0..self.hidden {
                let reset = self.act(0, self.gate(memory, 1, j)?);
                let kept = match self.layer.flag {
                    0 => reset * self.state(memory, self.h, j)?,
                    _ => reset,
                };
                self.write(memory, self.c.wrapping_add(j), kept)?;
            }
        }
        for j in 0..self.hidden {
            let y = match self.layer.cell {
                GRU => self.gru(memory, j)?,
                LSTM => self.lstm(memory, j)?,
                _ => self.act(0, self.gate(memory, 0, j)?),
            };
            self.write(memory, self.y.wrapping_add(j), y)?;
        }
        for j in 0..self.hidden {
            let y = self.state(memory, self.y, j)?;
            self.write(memory, self.h.wrapping_add(j), y)?;
        }
        Some(())
    }

    fn gru(&self, memory: &Memory<'_>, j: usize) -> Option<f32> {
        let z = self.act(0, self.gate(memory, 0, j)?);
        let bias = self.read(memory, self.side, self.fixed.wrapping_add(j))?;
        let inner = match self.layer.flag {
            0 => self.dot(memory, 2, j, self.c)? + bias,
            _ => self.state(memory, self.c, j)? * (self.dot(memory, 2, j, self.h)? + bias),
        };
        let n = self.act(1, self.x(memory, 2, j)? + inner);
        Some((1.0 - z) * n + z * self.state(memory, self.h, j)?)
    }

    fn lstm(&self, memory: &mut Memory<'_>, j: usize) -> Option<f32> {
        let c = self.state(memory, self.c, j)?;
        let i = self.act(0, self.gate(memory, 0, j)? + self.peephole(memory, 0, j, c)?);
        let forget = match self.layer.flag {
            0 => self.act(0, self.gate(memory, 2, j)? + self.peephole(memory, 2, j, c)?),
            _ => 1.0 - i,
        };
        let c = forget * c + i * self.act(1, self.gate(memory, 3, j)?);
        self.write(memory, self.c.wrapping_add(j), c)?;
        let o = self.act(0, self.gate(memory, 1, j)? + self.peephole(memory, 1, j, c)?);
        Some(o * self.act(2, c))
    }
}

/// A gate's function.
fn activation(function: u8, x: f32, alpha: f32, beta: f32) -> f32 {
    match function {
        0 if x < 0.0 => 0.0,
        1 => libm::tanhf(x),
        2 => 1.0 / (1.0 + exp(0.0 - x)),
        3 => alpha * x + beta,
        4 if x < 0.0 => alpha * x,
        5 if x >= alpha => x,
        5 => 0.0,
        6 => alpha * libm::tanhf(beta * x),
        7 => super::clamp(alpha * x + beta, 0.0, 1.0),
        8 if x < 0.0 => alpha * (exp(x) - 1.0),
        9 => x / (1.0 + if x < 0.0 { -x } else { x }),
        10 => libm::log1pf(exp(x)),
        _ => x,
    }
}

impl RecurrentF32 {
    fn gates(&self) -> u32 {
        match self.cell {
            GRU => 3,
            LSTM => 4,
            _ => 1,
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let rows = self.gates().checked_mul(self.hidden)?;
        let states = self.batch.checked_mul(2)?.checked_add(4)?;
        let lengths = Extent {
            offset: self.constants,
            bytes: self.batch.checked_mul(4)?,
        };
        Some(Extents {
            sources: sources([
                region(self.ifm, product(&[self.steps, self.batch, rows])?)?,
                region(self.recurrence, product(&[rows, self.hidden])?)?,
                region(self.side, product(&[states, self.hidden])?)?,
            ]),
            output: region(
                self.ofm,
                product(&[self.steps.checked_add(2)?, self.batch, self.hidden])?,
            )?,
            constants: Some(lengths),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.steps, self.batch, self.gates(), self.hidden, self.hidden])
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let fits = |length: &Word| u32::from_le_bytes(*length) <= self.steps;
        self.cell <= LSTM
            && self.flag <= 1
            && self.backward <= 1
            && self.functions.iter().all(|&function| function <= 10)
            && self.clip.total_cmp(&0.0).is_gt()
            && words(constants).iter().all(fits)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.recurrence = source(sources, 1);
        self.side = source(sources, 2);
        self.ofm = ofm;
        self.constants = constants;
    }
}
