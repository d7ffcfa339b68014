//! A model's outputs, read as boxes with scores.

use super::boxes::{Detection, surest};
use super::precision::MOST_BOXES;
use super::settings::{Activation, BoxColumns, BoxUnit, BoxesError, Columns, Format, ScoreColumns, Settings};
use crate::data::coco::{Coco, Image};
use crate::ir::{FloatGraph, FloatTensor};
use crate::op::tensor::Values;

/// How outputs are read.
pub(super) struct Decoder {
    /// Boxes there are.
    rows: usize,
    boxes: Table,
    format: Format,
    unit: BoxUnit,
    scores: Table,
    activation: Activation,
    background: Option<usize>,
    objectness: Option<(Table, Activation)>,
    classes: Option<Table>,
    /// Per class, the place of its category.
    categories: Vec<usize>,
    score_threshold: f64,
    nms_iou: Option<f64>,
    /// Width and height of what the model sees, where that is asked for or plain.
    input_size: Option<[f64; 2]>,
}

/// Columns of an output, with a row per box.
struct Table {
    /// The output's place.
    output: usize,
    first: usize,
    last: usize,
    /// Distance of neighbours in a column.
    row: usize,
    /// Distance of neighbours in a row.
    column: usize,
}

impl Table {
    /// The columns wanted of an output that has `rows` rows.
    fn new(
        wanted: &Columns,
        outputs: &[&FloatTensor],
        rows: Option<usize>,
    ) -> Result<(Self, usize), BoxesError> {
        let name = &wanted.output;
        let output = outputs.iter().position(|output| output.name == *name);
        let output = output.ok_or_else(|| BoxesError::NoSuchOutput {
            name: name.clone(),
            outputs: listed(outputs),
        })?;
        let ty = &outputs[output].ty;
        let len = ty.len();
        let (rows, columns) = match rows {
            Some(rows) if rows > 0 && len.is_multiple_of(rows) => (rows, len / rows),
            Some(boxes) => {
                return Err(BoxesError::Rows {
                    output: name.clone(),
                    found: len,
                    boxes,
                });
            }
            None => {
                // Without the batch.
                let shape = match ty.shape.as_slice() {
                    [1, rest @ ..] if rest.len() > 1 => rest,
                    shape => shape,
                };
                let columns = if wanted.transposed {
                    shape.first()
                } else {
                    shape.last()
                };
                let columns = columns.copied().unwrap_or(1).max(1);
                (len / columns, columns)
            }
        };
        let [first, last] = wanted.columns.unwrap_or([0, columns]);
        if first >= last || last > columns {
            return Err(BoxesError::Columns {
                output: name.clone(),
                first,
                last,
                found: columns,
            });
        }
        let (row, column) = if wanted.transposed {
            (1, rows)
        } else {
            (columns, 1)
        };
        let table = Self {
            output,
            first,
            last,
            row,
            column,
        };
        Ok((table, rows))
    }

    /// A table of one column.
    fn single(wanted: &Columns, outputs: &[&FloatTensor], rows: usize) -> Result<Self, BoxesError> {
        let (table, _) = Self::new(wanted, outputs, Some(rows))?;
        match table.last - table.first {
            1 => Ok(table),
            found => Err(BoxesError::NotOne {
                output: wanted.output.clone(),
                found,
            }),
        }
    }

    /// The numbers of a row.
    fn row<'v>(&self, values: &'v [Vec<f64>], row: usize) -> impl Iterator<Item = f64> + use<'v> {
        let values = &values[self.output];
        let (start, step) = (row * self.row, self.column);
        (self.first..self.last).map(move |column| values[start + column * step])
    }
}

impl Decoder {
    /// From what the user says of the outputs; without it, boxes are the one output with four columns, corners in
    /// shares of the image, scores and classes are told apart by size and name.
    ///
    /// # Errors
    /// Where the model's outputs are not of this form.
    pub(super) fn new(
        settings: Option<&Settings>,
        truth: &Coco,
        float: &FloatGraph,
    ) -> Result<Self, BoxesError> {
        let outputs: Vec<&FloatTensor> = float
            .outputs
            .iter()
            .map(|&output| &float.tensors[output])
            .collect();
        let guessed;
        let settings = match settings {
            Some(settings) => settings,
            None => {
                guessed = guess(&outputs)?;
                &guessed
            }
        };
        let (boxes, rows) = Table::new(&columns_of_boxes(&settings.boxes), &outputs, None)?;
        if boxes.last - boxes.first != 4 {
            return Err(BoxesError::NotFour {
                output: settings.boxes.output.clone(),
                found: boxes.last - boxes.first,
            });
        }
        let scores = columns_of_scores(&settings.scores);
        let classes = match &settings.classes {
            Some(wanted) => Some(Table::single(wanted, &outputs, rows)?),
            None => None,
        };
        let scores = if classes.is_some() {
            Table::single(&scores, &outputs, rows)?
        } else {
            Table::new(&scores, &outputs, Some(rows))?.0
        };
        let objectness = match &settings.objectness {
            Some(wanted) => {
                let columns = Columns {
                    output: wanted.output.clone(),
                    columns: wanted.columns,
                    transposed: wanted.transposed,
                };
                let table = Table::single(&columns, &outputs, rows)?;
                Some((table, wanted.activation))
            }
            None => None,
        };
        let background = settings.scores.background;
        let columns = scores.last - scores.first;
        if let Some(background) = background
            && (classes.is_some() || background >= columns)
        {
            return Err(BoxesError::Background {
                output: settings.scores.output.clone(),
                background,
                columns: if classes.is_some() { 0 } else { columns },
            });
        }
        let told_apart = classes
            .is_none()
            .then(|| columns - usize::from(background.is_some()));
        let decoder = Self {
            categories: categories(settings, truth, told_apart)?,
            rows,
            boxes,
            format: settings.boxes.format,
            unit: settings.boxes.unit,
            scores,
            activation: settings.scores.activation,
            background,
            objectness,
            classes,
            score_threshold: settings.score_threshold,
            nms_iou: settings.nms_iou,
            input_size: settings.input_size.or_else(|| input_size(float)),
        };
        let some_image_has_no_size = truth
            .images
            .iter()
            .any(|image| image.width.is_none() || image.height.is_none());
        let asks = decoder.unit == BoxUnit::Pixels || some_image_has_no_size;
        if asks && decoder.input_size.is_none() {
            let input = float
                .inputs
                .first()
                .map(|&input| float.tensors[input].ty.to_string());
            return Err(BoxesError::InputSize {
                input: input.unwrap_or_default(),
            });
        }
        Ok(decoder)
    }

    /// The boxes in a sample's outputs by falling score, at most [`MOST_BOXES`] of a category. What is not a number is
    /// no box, and a class beyond all categories is none.
    pub(super) fn decode(&self, outputs: &[Values], image: &Image) -> Vec<Detection> {
        let values: Vec<Vec<f64>> = outputs.iter().map(Values::to_f64).collect();
        let scale = self.scale(image);
        let mut found = Vec::new();
        for row in 0..self.rows {
            let objectness = self.objectness.as_ref().map_or(1.0, |(table, activation)| {
                let mut score: Vec<f64> = table.row(&values, row).collect();
                activation.apply(&mut score);
                score[0]
            });
            let mut scores: Vec<f64> = self.scores.row(&values, row).collect();
            self.activation.apply(&mut scores);
            let class = |column: usize| match &self.classes {
                Some(table) => {
                    let class = libm::round(table.row(&values, row).next().unwrap_or(-1.0));
                    (class >= 0.0).then_some(class as usize)
                }
                None => match self.background {
                    Some(background) if column == background => None,
                    Some(background) if column > background => Some(column - 1),
                    Some(_) | None => Some(column),
                },
            };
            for (column, score) in scores.into_iter().enumerate() {
                let score = score * objectness;
                let category = class(column).and_then(|class| self.categories.get(class));
                let (true, Some(&category)) = (score > self.score_threshold, category) else {
                    continue;
                };
                let bbox = self.bbox(&values, row, scale);
                if bbox.iter().all(|x| x.is_finite()) {
                    found.push(Detection {
                        category,
                        score,
                        bbox,
                    });
                }
            }
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        surest(found, self.nms_iou, MOST_BOXES)
    }

    fn bbox(&self, values: &[Vec<f64>], row: usize, [x, y]: [f64; 2]) -> [f64; 4] {
        let mut numbers = [0.0; 4];
        numbers
            .iter_mut()
            .zip(self.boxes.row(values, row))
            .for_each(|(number, value)| *number = value);
        let [left, top, width, height] = self.format.corner_and_size(numbers);
        [left * x, top * y, width * x, height * y]
    }

    /// Pixels of an image for one unit of a box, across and down. An image without a size is as large as what the
    /// model sees.
    fn scale(&self, image: &Image) -> [f64; 2] {
        let seen = self.input_size.unwrap_or([1.0, 1.0]);
        let size = match (image.width, image.height) {
            (Some(width), Some(height)) => [width, height],
            _ => seen,
        };
        match self.unit {
            BoxUnit::Normalised => size,
            BoxUnit::Pixels => [size[0] / seen[0], size[1] / seen[1]],
        }
    }
}

fn columns_of_boxes(boxes: &BoxColumns) -> Columns {
    Columns {
        output: boxes.output.clone(),
        columns: boxes.columns,
        transposed: boxes.transposed,
    }
}

fn columns_of_scores(scores: &ScoreColumns) -> Columns {
    Columns {
        output: scores.output.clone(),
        columns: scores.columns,
        transposed: scores.transposed,
    }
}

fn listed(outputs: &[&FloatTensor]) -> String {
    let outputs: Vec<String> = outputs
        .iter()
        .map(|output| format!("`{}` {}", output.name, output.ty))
        .collect();
    outputs.join(", ")
}

/// The place of each class's category; `told_apart` is the number of classes, where it is known.
fn categories(
    settings: &Settings,
    truth: &Coco,
    told_apart: Option<usize>,
) -> Result<Vec<usize>, BoxesError> {
    let categories = match &settings.category_ids {
        None => (0..truth.categories.len()).collect(),
        Some(ids) => {
            let place = |&id: &u64| {
                let place = truth.categories.iter().position(|category| category.id == id);
                place.ok_or(BoxesError::NoSuchCategory { id })
            };
            ids.iter().map(place).collect::<Result<Vec<_>, _>>()?
        }
    };
    match told_apart {
        Some(classes) if classes != categories.len() => Err(BoxesError::Classes {
            classes,
            categories: categories.len(),
        }),
        _ => Ok(categories),
    }
}

/// Width and height of the first input, where it is a picture: one, three or four channels before or behind them.
fn input_size(float: &FloatGraph) -> Option<[f64; 2]> {
    let input = &float.tensors[*float.inputs.first()?];
    let is_channels = |extent: usize| matches!(extent, 1 | 3 | 4);
    let (height, width) = match *input.ty.shape.as_slice() {
        [_, channels, height, width] if is_channels(channels) => (height, width),
        [_, height, width, channels] if is_channels(channels) => (height, width),
        _ => return None,
    };
    Some([width as f64, height as f64])
}

/// The settings of a model whose outputs are boxes and scores already.
fn guess(outputs: &[&FloatTensor]) -> Result<Settings, BoxesError> {
    let unclear = || BoxesError::Unclear {
        outputs: listed(outputs),
    };
    let boxes = outputs.iter().filter(|output| output.ty.shape.last() == Some(&4));
    let [boxes] = boxes.collect::<Vec<_>>()[..] else {
        return Err(unclear());
    };
    let rows = boxes.ty.len() / 4;
    let mut others: Vec<&&FloatTensor> = outputs
        .iter()
        .filter(|output| {
            let len = output.ty.len();
            output.name != boxes.name && rows > 0 && len > 0 && len.is_multiple_of(rows)
        })
        .collect();
    let is_called = |output: &FloatTensor, words: &[&str]| {
        let name = output.name.to_lowercase();
        words.iter().any(|word| name.contains(word))
    };
    // How many there are is no column of anything.
    others.retain(|output| !is_called(output, &["num", "count"]));
    let (scores, classes) = match others.as_slice() {
        [scores] => (scores, None),
        [a, b] => {
            let score = |output: &FloatTensor| is_called(output, &["score", "conf", "prob"]);
            match (score(a), score(b)) {
                (true, false) => (a, Some(b)),
                (false, true) => (b, Some(a)),
                _ => return Err(unclear()),
            }
        }
        _ => return Err(unclear()),
    };
    let columns = |output: &FloatTensor| Columns {
        output: output.name.clone(),
        columns: None,
        transposed: false,
    };
    Ok(Settings {
        image_ids: None,
        category_ids: None,
        score_threshold: 0.0,
        nms_iou: None,
        input_size: None,
        boxes: BoxColumns {
            output: boxes.name.clone(),
            columns: None,
            transposed: false,
            format: Format::default(),
            unit: BoxUnit::default(),
        },
        scores: ScoreColumns {
            output: scores.name.clone(),
            columns: None,
            transposed: false,
            activation: Activation::default(),
            background: None,
        },
        objectness: None,
        classes: classes.map(|output| columns(output)),
    })
}
