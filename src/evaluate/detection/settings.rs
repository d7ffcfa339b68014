//! How a model's outputs stand for boxes: what a user says of it in TOML.

use serde::Deserialize;

use crate::data::coco::Coco;

/// How a model's outputs become boxes.
///
/// ```toml
/// image_ids = [3, 7]         # one per sample; by default the images in the file's order
/// category_ids = [1, 2]      # one per class; by default the categories by ascending id
/// score_threshold = 0.05     # only boxes with a score above this count; 0 by default
/// nms_iou = 0.5              # boxes of a class that overlap a surer one by more are dropped; none by default
/// input_size = [320, 240]    # width and height of what the model sees; by default those of its first input
///
/// [boxes]
/// output = "boxes"           # four columns, a row per box
/// columns = [0, 4]           # from the first up to the second; by default all
/// transposed = false         # whether a box is a column
/// format = "xyxy"            # two corners; or "yxyx", "xywh" (a corner), "cxcywh" (the middle)
/// unit = "normalised"        # 0 to 1 over the image; or "pixels" of what the model sees
///
/// [scores]
/// output = "scores"          # a column per class
/// activation = "none"        # what is still to be applied: or "sigmoid", "softmax"
/// background = 0             # a column that is no class; none by default
///
/// [objectness]               # where there is one: every score is multiplied by it
/// output = "scores"
/// columns = [4, 5]
///
/// [classes]                  # where scores have one column: the class of each box
/// output = "classes"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub(super) image_ids: Option<Vec<u64>>,
    pub(super) category_ids: Option<Vec<u64>>,
    #[serde(default)]
    pub(super) score_threshold: f64,
    pub(super) nms_iou: Option<f64>,
    pub(super) input_size: Option<[f64; 2]>,
    pub(super) boxes: BoxColumns,
    pub(super) scores: ScoreColumns,
    pub(super) objectness: Option<Objectness>,
    pub(super) classes: Option<Columns>,
}

/// Columns of an output.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Columns {
    pub(super) output: String,
    pub(super) columns: Option<[usize; 2]>,
    #[serde(default)]
    pub(super) transposed: bool,
}

/// The columns that hold boxes.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct BoxColumns {
    pub(super) output: String,
    pub(super) columns: Option<[usize; 2]>,
    #[serde(default)]
    pub(super) transposed: bool,
    #[serde(default)]
    pub(super) format: Format,
    #[serde(default)]
    pub(super) unit: BoxUnit,
}

/// The columns that hold scores.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct ScoreColumns {
    pub(super) output: String,
    pub(super) columns: Option<[usize; 2]>,
    #[serde(default)]
    pub(super) transposed: bool,
    #[serde(default)]
    pub(super) activation: Activation,
    pub(super) background: Option<usize>,
}

/// The column that says how sure a box is of holding anything.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Objectness {
    pub(super) output: String,
    pub(super) columns: Option<[usize; 2]>,
    #[serde(default)]
    pub(super) transposed: bool,
    #[serde(default)]
    pub(super) activation: Activation,
}

/// What four numbers say of a box.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Left, top, right, bottom.
    #[default]
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Left, top, width, height.
    Xywh,
    /// The middle's place, width, height.
    Cxcywh,
}

impl Format {
    /// Left, top, width, height.
    pub(super) fn corner_and_size(self, [a, b, c, d]: [f64; 4]) -> [f64; 4] {
        match self {
            Self::Xyxy => [a, b, c - a, d - b],
            Self::Yxyx => [b, a, d - b, c - a],
            Self::Xywh => [a, b, c, d],
            Self::Cxcywh => [a - c / 2.0, b - d / 2.0, c, d],
        }
    }
}

/// What the numbers of a box are in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum BoxUnit {
    /// The image's width and height.
    #[default]
    #[serde(alias = "normalized")]
    Normalised,
    /// Pixels of what the model sees.
    Pixels,
}

/// What makes a score of an output.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Activation {
    /// It is one.
    #[default]
    None,
    /// The logistic function.
    Sigmoid,
    /// The softmax over a box's columns.
    Softmax,
}

impl Activation {
    pub(super) fn apply(self, scores: &mut [f64]) {
        match self {
            Self::None => {}
            Self::Sigmoid => scores.iter_mut().for_each(|x| *x = 1.0 / (1.0 + libm::exp(-*x))),
            Self::Softmax => {
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                scores.iter_mut().for_each(|x| *x = libm::exp(*x - most));
                let sum: f64 = scores.iter().sum();
                scores.iter_mut().for_each(|x| *x /= sum);
            }
        }
    }
}

impl Settings {
    /// Reads TOML; see the example above.
    ///
    /// # Errors
    /// Where it is no TOML, a word is unknown or one is missing, or a number is beyond what it can mean.
    pub fn parse(text: &str) -> Result<Self, BoxesError> {
        let settings: Self = toml::from_str(text).map_err(|error| BoxesError::Toml(error.to_string()))?;
        let is_size = |size: &f64| *size > 0.0 && size.is_finite();
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        let odd = |key, wanted, found: Option<&f64>| match found {
            Some(&found) => Err(BoxesError::Number { key, wanted, found }),
            None => Ok(()),
        };
        let sizes = settings.input_size.iter().flatten();
        odd(
            "input_size",
            "a width and a height above 0",
            sizes.into_iter().find(|size| !is_size(size)),
        )?;
        odd(
            "nms_iou",
            "a share from 0 to 1",
            settings.nms_iou.iter().find(|share| !is_share(share)),
        )?;
        odd(
            "score_threshold",
            "a finite number",
            Some(&settings.score_threshold).filter(|threshold| !threshold.is_finite()),
        )?;
        Ok(settings)
    }
}

/// Why outputs cannot be read as boxes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BoxesError {
    /// The settings are no TOML, or not of this form.
    #[error("{0}")]
    Toml(String),
    /// A number of the settings is beyond what it can mean.
    #[error("`{key}`: {wanted} wanted, {found} found")]
    Number {
        /// The key.
        key: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// What it has.
        found: f64,
    },
    /// A background that is none of the columns with a class each.
    #[error(
        "`background = {background}` names none of the {columns} columns of `{output}` that stand for classes"
    )]
    Background {
        /// The output with the scores.
        output: String,
        /// The column named.
        background: usize,
        /// Columns with a class each: none where `classes` names a box's own.
        columns: usize,
    },
    /// Which outputs hold boxes and scores is not plain.
    #[error(
        "which outputs are boxes and scores is not plain; wanted one with four columns, one with scores for as many \
         boxes, and perhaps one with their classes; the model's outputs are {outputs}"
    )]
    Unclear {
        /// The model's outputs with their types.
        outputs: String,
    },
    /// An output that the model has not.
    #[error("the model has no output `{name}`; its outputs are {outputs}")]
    NoSuchOutput {
        /// The name given.
        name: String,
        /// The model's outputs with their types.
        outputs: String,
    },
    /// Columns that an output has not.
    #[error("columns {first} to {last} of `{output}` wanted, {found} found")]
    Columns {
        /// The output.
        output: String,
        /// The first column wanted.
        first: usize,
        /// One past the last column wanted.
        last: usize,
        /// Columns found.
        found: usize,
    },
    /// Boxes of other than four numbers.
    #[error("four columns of boxes wanted, {found} of `{output}` found; give `columns = [FIRST, LAST]`")]
    NotFour {
        /// The output.
        output: String,
        /// Columns found.
        found: usize,
    },
    /// An output whose numbers cannot be shared out among the boxes.
    #[error("`{output}` has {found} numbers for {boxes} boxes")]
    Rows {
        /// The output.
        output: String,
        /// Its numbers.
        found: usize,
        /// Boxes there are.
        boxes: usize,
    },
    /// Several scores per box where there should be one.
    #[error("one column of `{output}` wanted, {found} found")]
    NotOne {
        /// The output.
        output: String,
        /// Columns found.
        found: usize,
    },
    /// Classes and categories differ in number.
    #[error(
        "the model tells {classes} classes apart, the labels have {categories} categories; say which is which by `category_ids`"
    )]
    Classes {
        /// Columns of scores.
        classes: usize,
        /// Categories.
        categories: usize,
    },
    /// A category that the labels do not have.
    #[error("`category_ids` names category {id}, which the labels do not have")]
    NoSuchCategory {
        /// The id.
        id: u64,
    },
    /// An image that the labels do not have, or have once.
    #[error("`image_ids` names image {id}, which the labels do not have or which is named before")]
    NoSuchImage {
        /// The id.
        id: u64,
    },
    /// Images and samples differ in number.
    #[error("{found} images for {samples} samples; say which is which by `image_ids`")]
    ImageCount {
        /// Images.
        found: usize,
        /// Samples.
        samples: usize,
    },
    /// How large the model's picture is is not plain.
    #[error(
        "the model's first input is {input}, which shows no width and height; give `input_size = [WIDTH, HEIGHT]`"
    )]
    InputSize {
        /// The input's type.
        input: String,
    },
}

/// The place of each sample's image among the labelled ones.
pub(super) fn images(
    settings: Option<&Settings>,
    truth: &Coco,
    samples: usize,
) -> Result<Vec<usize>, BoxesError> {
    let ids = settings.and_then(|settings| settings.image_ids.as_ref());
    let found = ids.map_or(truth.images.len(), Vec::len);
    if found != samples {
        return Err(BoxesError::ImageCount { found, samples });
    }
    let Some(ids) = ids else {
        return Ok((0..samples).collect());
    };
    let mut places = Vec::with_capacity(samples);
    for &id in ids {
        let place = truth.images.iter().position(|image| image.id == id);
        match place.filter(|place| !places.contains(place)) {
            Some(place) => places.push(place),
            None => return Err(BoxesError::NoSuchImage { id }),
        }
    }
    Ok(places)
}
