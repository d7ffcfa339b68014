//! Mean average precision against pycocotools' figures for the same boxes.

use tinsmith::data::coco::Coco;
use tinsmith::evaluate::{BoxSettings, Labels, Metric, MetricKind, Options};

use super::{Rows, measure};
use crate::import::onnx::{Onnx, ints};

const IMAGES: usize = 12;
const BOXES: usize = 20;

/// A number from 0 to 1.
fn hash(a: usize, b: usize, c: usize) -> f64 {
    ((a * 73 + b * 151 + c * 37 + a * b * 11 + b * c * 7) % 101) as f64 / 100.0
}

/// Labelled boxes of an image: category, left, top, width and height in shares of it.
fn labelled(image: usize) -> Vec<(usize, [f64; 4])> {
    (0..image % 4 + 1)
        .map(|j| {
            let number = |c| hash(image, j, c);
            let bbox = [
                number(1) * 0.6,
                number(2) * 0.6,
                0.1 + 0.3 * number(3),
                0.1 + 0.3 * number(4),
            ];
            ((image + j) % 3, bbox)
        })
        .collect()
}

/// What a model finds: corners of boxes that lie near the labelled ones, and three scores of each, in steps so large
/// that many are equal.
fn found(image: usize) -> Vec<([f64; 4], [f64; 3])> {
    let labelled = labelled(image);
    (0..BOXES)
        .map(|row| {
            let (category, [x, y, w, h]) = labelled[row % labelled.len()];
            let moved = (hash(image, row, 5) - 0.5) * 0.15;
            let scores = [0, 1, 2].map(|class| {
                let more = if class == category {
                    0.6 * hash(image, row, 9)
                } else {
                    0.0
                };
                ((0.3 * hash(image, row, 6 + class) + more) * 20.0).floor() / 20.0
            });
            let corners = [x + moved, y - moved * 0.5, x + w + moved * 0.3, y + h + moved];
            (corners, scores)
        })
        .collect()
}

/// The labels as a file: images are numbered backwards, every seventh box is a crowd, categories are 10, 20, 30.
fn truth() -> Coco {
    let mut boxes = Vec::new();
    let mut images = Vec::new();
    for image in 0..IMAGES {
        let (id, width, height) = (100 - image, 320 + 16 * image, 240);
        images.push(format!(r#"{{"id": {id}, "width": {width}, "height": {height}}}"#));
        for (j, (category, [x, y, w, h])) in labelled(image).into_iter().enumerate() {
            let (width, height) = (width as f64, f64::from(height));
            boxes.push(format!(
                r#"{{"image_id": {id}, "category_id": {}, "bbox": [{}, {}, {}, {}], "iscrowd": {}}}"#,
                10 * (category + 1),
                x * width,
                y * height,
                w * width,
                h * height,
                usize::from((image + j) % 7 == 0),
            ));
        }
    }
    let text = format!(
        r#"{{"images": [{}], "annotations": [{}], "categories": [{{"id": 30}}, {{"id": 10}}, {{"id": 20}}]}}"#,
        images.join(","),
        boxes.join(",")
    );
    Coco::read("gt.json", text.as_bytes()).unwrap()
}

/// A model with one input of `columns` numbers per box, which gives some of them as each of its outputs.
fn slices(columns: usize, outputs: &[(&str, usize, usize)]) -> Onnx {
    let mut model = Onnx::new(13)
        .input("x", [1, BOXES as i64, columns as i64])
        .ints("axes", &[2]);
    for &(name, first, last) in outputs {
        let (start, end) = (format!("{name}_first"), format!("{name}_last"));
        model = model
            .ints(&start, &[first as i64])
            .ints(&end, &[last as i64])
            .node("Slice", &["x", &start, &end, "axes"], &[name], vec![])
            .output(name);
    }
    model
}

fn samples(shape: &[usize], row: impl Fn(usize, &([f64; 4], [f64; 3])) -> Vec<f64>) -> Rows {
    let rows = (0..IMAGES).map(|image| {
        let numbers = found(image).into_iter().flat_map(|found| row(image, &found));
        numbers.map(|x| x as f32).collect()
    });
    Rows {
        shape: shape.to_vec(),
        rows: rows.collect(),
    }
}

fn precision(model: &Onnx, samples: &Rows, boxes: Option<&str>) -> Result<[Metric; 2], String> {
    let options = Options {
        metrics: vec![MetricKind::Map50, MetricKind::Map],
        labels: Some(Labels::Boxes(truth())),
        boxes: boxes.map(|text| BoxSettings::parse(text).unwrap()),
        ..Options::default()
    };
    let report = measure(model, samples, samples, &options).map_err(|error| error.to_string())?;
    for metric in &report.metrics {
        for estimate in [metric.float, metric.quantized, metric.drop] {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high);
        }
        assert!(metric.float.high - metric.float.low > 0.01);
    }
    Ok(report.metrics.try_into().unwrap())
}

#[track_caller]
fn close(found: &[Metric; 2], wanted: [f64; 2]) {
    for (found, wanted) in found.iter().zip(wanted) {
        let found = found.float.value;
        assert!((found - wanted).abs() < 1e-9, "{found} found, {wanted} wanted");
    }
}

#[test]
fn outputs_that_are_boxes_need_no_settings() {
    let with_scores = samples(&[1, BOXES, 7], |_, (corners, scores)| {
        corners.iter().chain(scores).copied().collect()
    });
    let model = slices(7, &[("scores", 4, 7), ("boxes", 0, 4)]);
    let plain = precision(&model, &with_scores, None).unwrap();
    close(&plain, [0.5427385841869057, 0.2933571555381954]);
    // The int8 of coordinates from 0 to 1 loses a little.
    assert!(
        (plain[1].quantized.value - plain[1].float.value).abs() < 0.05,
        "{plain:?}"
    );
    assert!(plain[1].quantized.value != plain[1].float.value);

    // The surest class alone, which a third output names.
    let with_classes = samples(&[1, BOXES, 6], |_, (corners, scores)| {
        let class = (1..3).fold(
            0,
            |best, class| if scores[class] > scores[best] { class } else { best },
        );
        corners
            .iter()
            .copied()
            .chain([scores[class], class as f64])
            .collect()
    });
    let model = slices(6, &[("classes", 5, 6), ("det_scores", 4, 5), ("boxes", 0, 4)]);
    close(
        &precision(&model, &with_classes, None).unwrap(),
        [0.5436672484819065, 0.2949075170236489],
    );
}

#[test]
fn settings_say_how_outputs_are_boxes() {
    // The middle and the size in pixels of 160 × 120, then an objectness of ¾, then scores as logits.
    let raw = samples(&[1, BOXES, 8], |_, ([x, y, right, bottom], scores)| {
        let centre = [(x + right) / 2.0 * 160.0, (y + bottom) / 2.0 * 120.0];
        let size = [(right - x) * 160.0, (bottom - y) * 120.0];
        let logits = scores.map(|score| (score * 6.0 - 3.0) * 2.0);
        [&centre[..], &size, &[0.75], &logits].concat()
    });
    let settings = |output: &str, transposed: bool| {
        format!(
            r#"
            category_ids = [10, 20, 30]
            score_threshold = 0.1
            nms_iou = 0.6
            input_size = [160, 120]
            [boxes]
            output = "{output}"
            columns = [0, 4]
            format = "cxcywh"
            unit = "pixels"
            transposed = {transposed}
            [objectness]
            output = "{output}"
            columns = [4, 5]
            transposed = {transposed}
            [scores]
            output = "{output}"
            columns = [5, 8]
            activation = "sigmoid"
            transposed = {transposed}
            "#
        )
    };
    let model = slices(8, &[("found", 0, 8)]);
    close(
        &precision(&model, &raw, Some(&settings("found", false))).unwrap(),
        [0.661936193619362, 0.2822866991696958],
    );
    // The same with boxes as columns.
    let turned = Onnx::new(13)
        .input("x", [1, BOXES as i64, 8])
        .node("Transpose", &["x"], &["turned"], vec![ints("perm", &[0, 2, 1])])
        .output("turned");
    close(
        &precision(&turned, &raw, Some(&settings("turned", true))).unwrap(),
        [0.661936193619362, 0.2822866991696958],
    );
}

#[test]
fn settings_that_do_not_fit_are_named() {
    let rows = samples(&[1, BOXES, 7], |_, (corners, scores)| {
        corners.iter().chain(scores).copied().collect()
    });
    let model = slices(7, &[("scores", 4, 7), ("boxes", 0, 4)]);
    let valid = "[boxes]\noutput = \"boxes\"\n[scores]\noutput = \"scores\"\n";
    for (settings, words) in [
        (
            valid.replace("\"boxes\"", "\"none\""),
            "no output `none`; its outputs are `scores` f32[1,20,3], `boxes`",
        ),
        (
            valid.replace("\"boxes\"", "\"scores\""),
            "four columns of boxes wanted, 3 of `scores` found",
        ),
        (
            valid.replace("\"scores\"\n", "\"scores\"\ncolumns = [1, 4]\n"),
            "columns 1 to 4 of `scores` wanted, 3 found",
        ),
        (
            valid.replace("\"scores\"\n", "\"scores\"\nbackground = 0\n"),
            "the model tells 2 classes apart, the labels have 3",
        ),
        (
            format!("category_ids = [10, 20, 31]\n{valid}"),
            "names category 31",
        ),
        (format!("image_ids = [100]\n{valid}"), "1 images for 12 samples"),
        (
            format!("image_ids = [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 90]\n{valid}"),
            "image 90",
        ),
        (
            valid.replace("\"boxes\"\n", "\"boxes\"\nunit = \"pixels\"\n"),
            "f32[1,20,7], which shows no width",
        ),
        (
            valid.replace("\"scores\"\n", "\"scores\"\nbackground = 3\n"),
            "`background = 3` names none of the 3 columns of `scores`",
        ),
        (
            format!("{valid}[classes]\noutput = \"scores\"\n"),
            "one column of `scores` wanted, 3 found",
        ),
    ] {
        let error = precision(&model, &rows, Some(&settings)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let unclear = slices(7, &[("a", 0, 4), ("b", 1, 5)]);
    let error = precision(&unclear, &rows, None).unwrap_err();
    assert!(
        error.contains("not plain") && error.contains("`b` f32[1,20,4]"),
        "{error}"
    );
    for (text, words) in [
        ("[boxes]", "output"),
        (
            &format!("input_size = [320, 0]\n{valid}"),
            "`input_size`: a width and a height above 0 wanted, 0 found",
        ),
        (
            &format!("nms_iou = 50.0\n{valid}"),
            "`nms_iou`: a share from 0 to 1 wanted, 50 found",
        ),
        (
            &format!("score_threshold = nan\n{valid}"),
            "`score_threshold`: a finite number wanted, NaN found",
        ),
        (
            &format!("{valid}[objectness]\noutput = \"scores\"\nbackground = 0\n"),
            "background",
        ),
        ("colour = 1", "colour"),
        (
            &valid.replace("[scores]", "[scores]\nactivation = \"tanh\""),
            "tanh",
        ),
    ] {
        let error = BoxSettings::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
