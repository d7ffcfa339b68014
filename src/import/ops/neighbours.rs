//! Which inputs an output of `Resize` is made of along one axis, and with which weights:
//! <https://onnx.ai/onnx/operators/onnx__Resize.html>.

use crate::op::OpError;

/// The most elements along a resized axis: no image for small devices comes near it.
pub(super) const MOST: f64 = 65_535.0;

/// The most taps of all outputs along one axis.
const MOST_TAPS: usize = 1 << 24;

/// How values come of neighbours.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Nearest(Nearest),
    Linear,
    Cubic(f64),
}

/// Which neighbour is the nearest.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Nearest {
    /// The nearest, ties down.
    PreferFloor,
    /// The nearest, ties up.
    PreferCeil,
    Floor,
    Ceil,
}

/// Where outputs lie among inputs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Places {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// TensorFlow's crop and resize, with a value for what lies outside.
    Crop(f32),
}

/// How all axes are resized.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) mode: Mode,
    pub(super) places: Places,
    pub(super) antialias: bool,
    pub(super) exclude_outside: bool,
}

/// One axis to resize.
pub(super) struct Along {
    pub(super) axis: usize,
    pub(super) extent: usize,
    pub(super) scale: f64,
    pub(super) output: usize,
    /// Start and end of what is cropped, as fractions of the input.
    pub(super) region: (f64, f64),
}

/// What happens along one axis.
pub(super) struct Step {
    pub(super) taps: usize,
    pub(super) sources: Vec<usize>,
    pub(super) weights: Vec<f64>,
    /// Outputs before and behind those computed, which lie outside the input.
    pub(super) outside: [usize; 2],
    pub(super) only_moves: bool,
}

impl Step {
    pub(super) fn is_identity(&self, extent: usize) -> bool {
        let picks = |(output, sources): (usize, &[usize])| {
            let weights = &self.weights[output * self.taps..][..self.taps];
            let mut pairs = sources.iter().zip(weights);
            pairs.all(|(&source, &weight)| weight == 0.0 || (source == output && weight == 1.0))
        };
        self.outside == [0, 0]
            && self.sources.len() == extent * self.taps
            && self.sources.chunks(self.taps).enumerate().all(picks)
    }
}

/// The inputs and weights of every output along an axis.
pub(super) fn step(along: &Along, style: Style) -> Result<Step, OpError> {
    let extent = along.extent as f64;
    let places: Vec<f64> = (0..along.output)
        .map(|output| place(along, style.places, output))
        .collect();
    let is_inside =
        |&&place: &&f64| !matches!(style.places, Places::Crop(_)) || (0.0..=extent - 1.0).contains(&place);
    // Places run one way, so that those inside are neighbours.
    let first = places.iter().take_while(|place| !is_inside(place)).count();
    let inside: Vec<f64> = places.iter().filter(is_inside).copied().collect();
    let outside = [first, along.output - first - inside.len()];
    let scale = along.scale.min(1.0);
    let (taps, before): (usize, i64) = match style.mode {
        Mode::Nearest(_) => (1, 0),
        Mode::Linear | Mode::Cubic(_) => {
            let reach = if style.mode == Mode::Linear { 1.0 } else { 2.0 };
            let reach = if style.antialias { reach / scale } else { reach };
            if reach > MOST {
                return Err(OpError::new(format!(
                    "a scale that few elements share wanted, {} found",
                    along.scale
                )));
            }
            let start = libm::floor(-reach) as i64 + 1;
            ((2 - 2 * start) as usize, start)
        }
    };
    if taps.saturating_mul(inside.len()) > MOST_TAPS {
        return Err(OpError::new(format!(
            "at most {MOST_TAPS} taps along an axis wanted, {} of {taps} found",
            inside.len()
        )));
    }
    let last = along.extent as i64 - 1;
    let (mut sources, mut weights) = (Vec::new(), Vec::new());
    for place in inside {
        if let Mode::Nearest(nearest) = style.mode {
            sources.push((nearest.of(place) as i64).clamp(0, last) as usize);
            weights.push(1.0);
            continue;
        }
        // The neighbour before: a place on an element counts as one behind the element before it.
        let floor = libm::ceil(place) - 1.0;
        let ratio = place - floor;
        let indices = (before..before + taps as i64).map(|step| floor as i64 + step);
        let squeeze = if style.antialias { scale } else { 1.0 };
        let mut own: Vec<f64> = (before..before + taps as i64)
            .map(|step| (step as f64 - ratio) * squeeze)
            .map(|distance| match style.mode {
                Mode::Cubic(a) => cubic(distance.abs(), a),
                Mode::Linear | Mode::Nearest(_) => (1.0 - distance.abs()).max(0.0),
            })
            .collect();
        if style.exclude_outside {
            for (weight, index) in own.iter_mut().zip(indices.clone()) {
                if !(0..=last).contains(&index) {
                    *weight = 0.0;
                }
            }
        }
        if style.antialias || style.exclude_outside {
            let sum: f64 = own.iter().sum();
            if sum != 0.0 {
                own.iter_mut().for_each(|weight| *weight /= sum);
            }
        }
        sources.extend(indices.map(|index| index.clamp(0, last) as usize));
        weights.extend(own);
    }
    Ok(Step {
        taps,
        sources,
        weights,
        outside,
        only_moves: matches!(style.mode, Mode::Nearest(_)),
    })
}

/// Where an output lies among the inputs.
fn place(along: &Along, places: Places, output: usize) -> f64 {
    let (x, extent, scale) = (output as f64, along.extent as f64, along.scale);
    let outputs = scale * extent;
    let half_pixel = (x + 0.5) / scale - 0.5;
    match places {
        Places::HalfPixel => half_pixel,
        Places::HalfPixelSymmetric => extent / 2.0 * (1.0 - along.output as f64 / outputs) + half_pixel,
        Places::PytorchHalfPixel if outputs == 1.0 => -0.5,
        Places::PytorchHalfPixel => half_pixel,
        Places::AlignCorners if outputs == 1.0 => 0.0,
        Places::AlignCorners => x * (extent - 1.0) / (outputs - 1.0),
        Places::Asymmetric => x / scale,
        Places::Crop(_) => {
            let (start, end) = along.region;
            let from = start * (extent - 1.0);
            if outputs == 1.0 {
                (end - start) * (extent - 1.0) / 2.0 + from
            } else {
                x * (end - start) * (extent - 1.0) / (outputs - 1.0) + from
            }
        }
    }
}

impl Nearest {
    fn of(self, place: f64) -> f64 {
        match self {
            Self::PreferFloor => libm::ceil(place - 0.5),
            Self::PreferCeil => libm::floor(place + 0.5),
            Self::Floor => libm::floor(place),
            Self::Ceil => libm::ceil(place),
        }
    }
}

/// The weight of an element at this distance.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
