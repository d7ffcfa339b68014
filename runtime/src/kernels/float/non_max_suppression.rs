//! The boxes of the greatest scores that overlap none chosen before. What was chosen is read back from the output, and
//! the next score is found by one walk over all, so no memory is needed but the output's.

use super::{WIDTH, Word, words};
use crate::arena::Memory;
use crate::format::NonMaxSuppressionF32;
use crate::kernels::{Extent, Extents, Kernel, kernel_of, only, product, source, work_of};

/// The kernel of [`NonMaxSuppressionF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(NonMaxSuppressionF32, run)
}

/// The intersection of two boxes over their union; 0 where either has no area. Boxes are two corners `[y, x, y, x]`, or
/// center and extents `[x, y, width, height]`.
pub fn overlap(a: &[f32; 4], b: &[f32; 4], centers: bool) -> f32 {
    // Both ends along either axis, in order.
    let sides = |&[p, q, r, s]: &[f32; 4]| {
        let ordered = |a: f32, b: f32| if a > b { (b, a) } else { (a, b) };
        if centers {
            let around = |center: f32, extent: f32| (center - extent / 2.0, center + extent / 2.0);
            (around(q, s), around(p, r))
        } else {
            (ordered(p, r), ordered(q, s))
        }
    };
    let (a, b) = (sides(a), sides(b));
    let length = |(low, high): (f32, f32)| if high > low { high - low } else { 0.0 };
    let area = |sides: ((f32, f32), (f32, f32))| length(sides.0) * length(sides.1);
    let shared = |a: (f32, f32), b: (f32, f32)| {
        let low = if a.0 > b.0 { a.0 } else { b.0 };
        let high = if a.1 < b.1 { a.1 } else { b.1 };
        length((low, high))
    };
    let intersection = shared(a.0, b.0) * shared(a.1, b.1);
    let union = area(a) + area(b) - intersection;
    if area(a) > 0.0 && area(b) > 0.0 && union > 0.0 {
        intersection / union
    } else {
        0.0
    }
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = NonMaxSuppressionF32::read(fields)?;
    let extents = layer.extents()?;
    let [Some(boxes), Some(scores), ..] = extents.sources else {
        return None;
    };
    memory.output(extents.output)?.fill(0);
    let (classes, count) = (layer.classes as usize, layer.count as usize);
    let mut chosen = 0usize;
    for batch in 0..layer.batches as usize {
        for class in 0..classes {
            let row = batch.wrapping_mul(classes).wrapping_add(class);
            let first = chosen;
            let mut before: Option<(f32, usize)> = None;
            while chosen.wrapping_sub(first) < layer.most as usize {
                let all = words(memory.source(scores)?);
                let all = all.get(row.wrapping_mul(count)..)?.get(..count)?;
                let Some(next) = layer.next(all, before) else {
                    break;
                };
                before = Some(next);
                let own = corners(memory, boxes, batch.wrapping_mul(count).wrapping_add(next.1))?;
                let mut is_free = true;
                for other in first..chosen {
                    let place = number(memory, extents.output, slot(other, 2))?;
                    let other = corners(memory, boxes, batch.wrapping_mul(count).wrapping_add(place))?;
                    if overlap(&own, &other, layer.centers == 1) > layer.iou_threshold {
                        is_free = false;
                        break;
                    }
                }
                if is_free {
                    let numbers = memory.output(extents.output)?.as_chunks_mut().0;
                    for (column, value) in [batch, class, next.1].into_iter().enumerate() {
                        *numbers.get_mut(slot(chosen, column))? = (value as u64).to_le_bytes();
                    }
                    chosen = chosen.wrapping_add(1);
                }
            }
        }
    }
    let numbers = memory.output(extents.output)?.as_chunks_mut().0;
    *numbers.first_mut()? = (chosen as u64).to_le_bytes();
    Some(extents.output)
}

/// Where a column of a chosen box stands among the output's numbers.
fn slot(chosen: usize, column: usize) -> usize {
    chosen.wrapping_mul(3).wrapping_add(column).wrapping_add(1)
}

/// A number of the output.
fn number(memory: &mut Memory<'_>, output: Extent, at: usize) -> Option<usize> {
    let numbers = memory.output(output)?.as_chunks().0;
    Some(u64::from_le_bytes(*numbers.get(at)?) as usize)
}

/// The numbers of a box.
fn corners(memory: &Memory<'_>, boxes: Extent, at: usize) -> Option<[f32; 4]> {
    let words: &[Word; 4] = words(memory.source(boxes)?)
        .get(at.wrapping_mul(4)..)?
        .first_chunk()?;
    Some(words.map(f32::from_le_bytes))
}

impl NonMaxSuppressionF32 {
    /// The greatest score behind another one in the order of falling scores, and its box; of equal ones the first.
    fn next(&self, scores: &[Word], before: Option<(f32, usize)>) -> Option<(f32, usize)> {
        let mut best: Option<(f32, usize)> = None;
        for (i, &score) in scores.iter().enumerate() {
            let score = f32::from_le_bytes(score);
            let counts = !score.is_nan() && (self.any_score == 1 || score > self.score_threshold);
            let is_next = before.is_none_or(|(last, at)| score < last || score == last && i > at);
            if counts && is_next && best.is_none_or(|(best, _)| score > best) {
                best = Some((score, i));
            }
        }
        best
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let boxes = product(&[self.batches, self.count, 4, WIDTH])?;
        let scores = product(&[self.batches, self.classes, self.count, WIDTH])?;
        let slots = product(&[self.batches, self.classes, self.most, 3])?;
        let mut sources = only(Extent {
            offset: self.boxes,
            bytes: boxes,
        });
        *sources.get_mut(1)? = Some(Extent {
            offset: self.scores,
            bytes: scores,
        });
        Some(Extents {
            sources,
            output: Extent {
                offset: self.ofm,
                bytes: slots.checked_add(1)?.checked_mul(8)?,
            },
            ..Extents::default()
        })
    }

    /// Every candidate is found by a walk over all, and compared with every one chosen.
    pub(crate) fn work(&self) -> Option<u64> {
        let walk = u64::from(self.count).checked_add(self.most.into())?;
        work_of(&[self.batches, self.classes, self.count])?.checked_mul(walk)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.any_score <= 1 && self.centers <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.boxes = source(sources, 0);
        self.scores = source(sources, 1);
        self.ofm = ofm;
    }
}
