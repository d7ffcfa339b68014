//! What computes with places of elements: gathering, scattering, sampling, ranking, counting.

use super::elementwise::plain;
use super::message::{count, float, floats, int, ints, word};
use super::movement::as_it_is;
use super::no_form;
use super::order::Order;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::{
    Coordinates, Gather, GatherElements, GatherNd, GridSample, OpError, Reduction, RoiAlign, SampleMode,
    SamplePadding, Scatter, ScatterKind, TfIdf, TopK,
};

pub(super) fn gather(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Gather) {
    as_it_is(w, node, "Gather", op.axis);
}

pub(super) fn gather_elements(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &GatherElements) {
    as_it_is(w, node, "GatherElements", op.axis);
}

pub(super) fn gather_nd(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &GatherNd) {
    plain(w, node, "GatherND", vec![count("batch_dims", op.batch_dims)]);
}

pub(super) fn scatter(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Scatter) {
    let reduction = match op.reduction {
        Reduction::Replace => "none",
        Reduction::Add => "add",
        Reduction::Mul => "mul",
        Reduction::Max => "max",
        Reduction::Min => "min",
    };
    let mut attributes = vec![word("reduction", reduction)];
    let op_type = match op.kind {
        ScatterKind::Elements { axis } => {
            attributes.push(count("axis", axis));
            "ScatterElements"
        }
        ScatterKind::Slices => "ScatterND",
    };
    plain(w, node, op_type, attributes);
}

pub(super) fn grid_sample(
    w: &mut Writer<'_>,
    node: &Node<QuantTensor>,
    op: &GridSample,
) -> Result<(), OpError> {
    let align_corners = match op.coordinates {
        Coordinates::Corners => true,
        Coordinates::Edges => false,
        Coordinates::Elements => return Err(no_form("sampling at places that count elements")),
    };
    let mode = match op.mode {
        SampleMode::Nearest => "nearest",
        SampleMode::Linear => "linear",
        SampleMode::Cubic => "cubic",
    };
    let padding = match op.padding {
        SamplePadding::Zeros => "zeros",
        SamplePadding::Border => "border",
        SamplePadding::Reflection => "reflection",
    };
    let attributes = vec![
        word("mode", mode),
        word("padding_mode", padding),
        int("align_corners", align_corners),
    ];
    w.need(20);
    plain(w, node, "GridSample", attributes);
    Ok(())
}

pub(super) fn roi_align(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &RoiAlign) {
    let coordinates = if op.half_pixel {
        "half_pixel"
    } else {
        "output_half_pixel"
    };
    let attributes = vec![
        word("coordinate_transformation_mode", coordinates),
        word("mode", if op.largest { "max" } else { "avg" }),
        count("output_height", op.bins[0]),
        count("output_width", op.bins[1]),
        count("sampling_ratio", op.sampling),
        float("spatial_scale", op.scale),
    ];
    plain(w, node, "RoiAlign", attributes);
}

/// The first alone has an operator of its own, which knows both orders of equals.
pub(super) fn top_k(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &TopK) -> Result<(), OpError> {
    let x = w.read(node.inputs[0], Order::Own);
    let y = if op.count == 1 {
        let op_type = if op.largest { "ArgMax" } else { "ArgMin" };
        let attributes = vec![
            count("axis", op.axis),
            int("keepdims", 1),
            int("select_last_index", op.last_of_equals),
        ];
        w.own(op_type, &[&x], attributes)
    } else if op.last_of_equals {
        return Err(no_form("a ranking with the last of equals first"));
    } else {
        let most = w.counts("k", &[op.count]);
        let attributes = vec![count("axis", op.axis), int("largest", op.largest)];
        w.add_many("TopK", &[&x, &most], attributes, 2).swap_remove(1)
    };
    w.write(node.outputs[0], Order::Own, y);
    Ok(())
}

/// The sequences in the order of their lengths, as the operator wants them.
pub(super) fn tf_idf(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &TfIdf) {
    let longest = op.grams.iter().map(|gram| gram.items.len()).max().unwrap_or(1);
    let shortest = op.grams.iter().map(|gram| gram.items.len()).min().unwrap_or(1);
    let (mut pool, mut starts) = (Vec::new(), Vec::new());
    let (mut indexes, mut weights) = (Vec::new(), Vec::new());
    for length in 1..=longest {
        starts.push(pool.len() as i64);
        for gram in op.grams.iter().filter(|gram| gram.items.len() == length) {
            pool.extend(gram.items.iter().copied());
            indexes.push(gram.output as i64);
            weights.push(gram.weight);
        }
    }
    let mode = if op.once { "IDF" } else { "TFIDF" };
    let attributes = vec![
        count("max_gram_length", longest),
        count("min_gram_length", shortest),
        count("max_skip_count", op.most_skipped),
        word("mode", mode),
        ints("ngram_counts", starts),
        ints("ngram_indexes", indexes),
        ints("pool_int64s", pool),
        floats("weights", weights),
    ];
    plain(w, node, "TfIdfVectorizer", attributes);
}
