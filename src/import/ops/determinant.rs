//! Det, of matrices small enough to be expanded.

use super::super::builder::{Builder, Tensor};
use super::{Call, Importer, Made, onnx};
use crate::op::OpError;

pub(super) const IMPORTERS: &[Importer] = &[onnx("Det", determinant)];

/// The largest matrix: its expansion has 4! products.
const MAX_ROWS: usize = 4;

/// Leibniz's expansion along the first row, minor by minor.
fn determinant(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let rows = match shape[..] {
        [.., rows, columns] if rows == columns && (1..=MAX_ROWS).contains(&rows) => rows,
        _ => {
            return Err(OpError::new(format!(
                "square matrices of 1 to {MAX_ROWS} rows wanted, {} found",
                call.graph.ty(x)
            ))
            .with_help(
                "larger determinants have no stable form without pivoting; compute them outside of the model",
            ));
        }
    };
    let all: Vec<usize> = (0..rows).collect();
    let y = expand(call.graph, x, 0, &all)?;
    Ok(vec![call.graph.reshape(
        y,
        &shape[..shape.len() - 2],
        "scalars",
    )?])
}

/// The determinant of the rows from `row` on and these columns.
fn expand(graph: &mut Builder, x: Tensor, row: usize, columns: &[usize]) -> Result<Tensor, OpError> {
    let last = graph.rank(x) - 1;
    let mut sum = None;
    for (position, &column) in columns.iter().enumerate() {
        let entry = graph.part(x, last - 1, row..row + 1, "row")?;
        let entry = graph.part(entry, last, column..column + 1, "entry")?;
        let mut rest = columns.to_vec();
        rest.remove(position);
        let term = if rest.is_empty() {
            entry
        } else {
            let minor = expand(graph, x, row + 1, &rest)?;
            graph.mul(entry, minor, "term")?
        };
        sum = Some(match sum {
            None => term,
            Some(sum) if position % 2 == 0 => graph.add(sum, term, "sum")?,
            Some(sum) => graph.sub(sum, term, "difference")?,
        });
    }
    sum.ok_or_else(|| OpError::new("a row of one entry or more wanted"))
}
