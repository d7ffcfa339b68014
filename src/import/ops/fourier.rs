//! Discrete Fourier transforms of known length. Of a real signal, which is what a model's own spectra are of, it is a
//! product with a constant matrix of cosines and sines; all of a complex one goes in stages.

use std::f64::consts::TAU;

use super::super::builder::Tensor;
use super::Call;
use crate::op::OpError;
use crate::op::tensor::{Data, Values};

/// A discrete Fourier transform of known length.
pub(super) struct Transform {
    pub(super) length: usize,
    pub(super) inverse: bool,
    pub(super) onesided: bool,
}

impl Transform {
    /// Elements that come out along the axis.
    pub(super) fn outputs(&self) -> usize {
        if self.onesided && !self.inverse {
            self.length / 2 + 1
        } else {
            self.length
        }
    }

    /// Transforms axis 1 of `[outer, axis, components]`; components are real and imaginary part. What the input has
    /// beyond the length is left out, what it lacks is zero.
    pub(super) fn apply(&self, call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
        let &[outer, extent, components] = call.graph.shape(x) else {
            return Err(OpError::new("a signal of rank 3 wanted"));
        };
        // The half of a real signal's spectrum stands for all of it.
        let from_half = self.inverse && self.onesided;
        let most = if from_half {
            self.length / 2 + 1
        } else {
            self.length
        };
        let taken = extent.min(most);
        let x = call.graph.part(x, 1, 0..taken, "taken")?;
        if components == 2 && !from_half && [taken, self.outputs()] == [self.length; 2] {
            return self.in_stages(call, x);
        }
        let (inputs, outputs) = (taken * components, self.outputs());
        let parts = if from_half { 1 } else { 2 };
        let columns = outputs * parts;
        call.graph
            .take_bytes(inputs.saturating_mul(columns).saturating_mul(8))?;
        let mut matrix = vec![0.0; inputs * columns];
        let sign = if self.inverse { 1.0 } else { -1.0 };
        for n in 0..taken {
            let mirrored = from_half && n != 0 && 2 * n != self.length;
            let weight = if mirrored { 2.0 } else { 1.0 };
            let weight = if self.inverse {
                weight / self.length as f64
            } else {
                weight
            };
            for k in 0..outputs {
                let (cos, sin) = rotation(n, k, self.length);
                let (cos, sin) = (weight * cos, weight * sign * sin);
                // (re + i·im)·(cos + i·sin)
                let rows = [[cos, sin], [-sin, cos]];
                for (component, row) in rows.iter().enumerate().take(components) {
                    for (part, &entry) in row.iter().enumerate().take(parts) {
                        matrix[(n * components + component) * columns + k * parts + part] = entry;
                    }
                }
            }
        }
        let to = call.graph.ty(x).dtype;
        let matrix = Values::new([inputs, columns], Data::F64(matrix).cast(to));
        let matrix = call.graph.constant(matrix, "rotations");
        let flat = call.graph.reshape(x, [outer, inputs], "signal")?;
        let y = call.graph.matmul(flat, matrix, "spectrum")?;
        call.graph.reshape(y, [outer, outputs, parts], "transformed")
    }

    /// All of a complex signal `[outer, length, 2]`, as fast transforms go: the factor of an inverse comes last.
    fn in_stages(&self, call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
        let sign = if self.inverse { 1.0 } else { -1.0 };
        let y = stages(call, x, sign)?;
        if !self.inverse {
            return Ok(y);
        }
        call.graph.scale(y, 1.0 / self.length as f64, "mean")
    }
}

/// `y[k] = Σₙ x[n]·exp(sign·2πi·nk/N)` along axis 1 of `[outer, N, 2]`, after Cooley and Tukey: with `N = p·q`, `n = q·n₁ +
/// n₂` and `k = k₁ + p·k₂`, transforms of the least prime `p` over `n₁`, a rotation by `n₂·k₁/N`, transforms of `q` over `n₂`.
/// That is `N·(p + q)` products instead of `N²`, of sums as short, whose rounding is as small.
fn stages(call: &mut Call<'_>, x: Tensor, sign: f64) -> Result<Tensor, OpError> {
    let &[outer, length, _] = call.graph.shape(x) else {
        return Err(OpError::new("a signal of rank 3 wanted"));
    };
    let p = least_prime(length);
    if p == length {
        return by_matrix(call, x, sign);
    }
    let q = length / p;
    let apart = call.graph.reshape(x, [outer, p, q, 2], "apart")?;
    let apart = call.graph.transpose(apart, &[0, 2, 1, 3], "neighbours")?;
    let apart = call.graph.reshape(apart, [outer * q, p, 2], "short_signals")?;
    let short = by_matrix(call, apart, sign)?;
    let short = call.graph.reshape(short, [outer, q, p, 2], "short_spectra")?;
    // (re + i·im)·(cos + i·sin), as the number times cos and the number with its parts exchanged times ∓sin.
    let to = call.graph.ty(x).dtype;
    call.graph
        .take_bytes(length.saturating_mul(3).saturating_mul(to.bytes()))?;
    let (mut cosines, mut sines) = (Vec::with_capacity(length), Vec::with_capacity(2 * length));
    for n in 0..q {
        for k in 0..p {
            let (cos, sin) = rotation(n, k, length);
            cosines.push(cos);
            sines.extend([-sign * sin, sign * sin]);
        }
    }
    let cosines = Values::new([q, p, 1], Data::F64(cosines).cast(to));
    let cosines = call.graph.constant(cosines, "cosines");
    let sines = Values::new([q, p, 2], Data::F64(sines).cast(to));
    let sines = call.graph.constant(sines, "sines");
    let re = call.graph.part(short, 3, 0..1, "real")?;
    let im = call.graph.part(short, 3, 1..2, "imaginary")?;
    let exchanged = call.graph.concat(&[im, re], 3, "exchanged")?;
    let straight = call.graph.mul(short, cosines, "straight")?;
    let across = call.graph.mul(exchanged, sines, "across")?;
    let turned = call.graph.add(straight, across, "turned")?;
    let turned = call.graph.transpose(turned, &[0, 2, 1, 3], "by_rest")?;
    let turned = call.graph.reshape(turned, [outer * p, q, 2], "long_signals")?;
    let long = stages(call, turned, sign)?;
    let long = call.graph.reshape(long, [outer, p, q, 2], "long_spectra")?;
    let long = call.graph.transpose(long, &[0, 2, 1, 3], "in_order")?;
    call.graph.reshape(long, [outer, length, 2], "whole_spectra")
}

/// The same as one product with a matrix.
fn by_matrix(call: &mut Call<'_>, x: Tensor, sign: f64) -> Result<Tensor, OpError> {
    let &[outer, length, _] = call.graph.shape(x) else {
        return Err(OpError::new("a signal of rank 3 wanted"));
    };
    let side = 2 * length;
    call.graph
        .take_bytes(side.saturating_mul(side).saturating_mul(8))?;
    let mut matrix = Vec::with_capacity(side * side);
    for n in 0..length {
        let row = || (0..length).map(|k| rotation(n, k, length));
        matrix.extend(row().flat_map(|(cos, sin)| [cos, sign * sin]));
        matrix.extend(row().flat_map(|(cos, sin)| [-sign * sin, cos]));
    }
    let to = call.graph.ty(x).dtype;
    let matrix = Values::new([side, side], Data::F64(matrix).cast(to));
    let matrix = call.graph.constant(matrix, "rotations");
    let flat = call.graph.reshape(x, [outer, side], "signal")?;
    let y = call.graph.matmul(flat, matrix, "spectrum")?;
    call.graph.reshape(y, [outer, length, 2], "transformed")
}

/// Cosine and sine of `2π·nk/length`.
fn rotation(n: usize, k: usize, length: usize) -> (f64, f64) {
    // The product may be large; the angle is not.
    let turn = (n as u128 * k as u128 % length as u128) as f64 / length as f64;
    (libm::cos(TAU * turn), libm::sin(TAU * turn))
}

/// The least prime that divides a number; the number itself below 4.
fn least_prime(number: usize) -> usize {
    let mut tried = (2..).take_while(|&p: &usize| p.saturating_mul(p) <= number);
    tried.find(|&p| number.is_multiple_of(p)).unwrap_or(number)
}
