//! Tables of numbers in text: comma-separated values, one row per sample.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::error::{DataError, DataProblem};
use super::npy::{self, Array};
use crate::op::tensor::Data;

/// Opens a `.csv` file: an array `[rows, columns]` of f64. A first row without a number is a heading; empty lines and
/// lines that begin with `#` do not count.
///
/// # Errors
/// Where it is missing or empty, rows differ in length, or a cell is no finite number.
pub fn open(path: &Path) -> Result<Array, DataError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| DataProblem::Unreadable(error).of(&name))?;
    read(&name, &bytes)
}

/// The same from the bytes of a file, called `name` in messages.
///
/// # Errors
/// As [`open`].
pub fn read(name: &str, bytes: &[u8]) -> Result<Array, DataError> {
    let (shape, numbers) = parse(bytes).map_err(|problem| problem.of(name))?;
    Array::owned(name, npy::encode(&shape, &Data::F64(numbers)))
}

fn parse(bytes: &[u8]) -> Result<([usize; 2], Vec<f64>), DataProblem> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(bytes);
    let mut numbers = Vec::new();
    let (mut rows, mut columns) = (0, 0);
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| DataProblem::NotCsv(error.to_string()))?;
        let line = record.position().map_or(0, |position| position.line());
        let row = match row(&record) {
            Ok(row) => row,
            Err(_) if index == 0 && record.iter().all(|cell| cell.parse::<f64>().is_err()) => continue,
            Err(column) => {
                return Err(DataProblem::NotANumber {
                    line,
                    column: column + 1,
                    found: record[column].to_owned(),
                });
            }
        };
        if rows > 0 && row.len() != columns {
            return Err(DataProblem::Ragged {
                line,
                found: row.len(),
                wanted: columns,
            });
        }
        columns = row.len();
        rows += 1;
        numbers.extend(row);
    }
    if rows == 0 {
        return Err(DataProblem::Empty { found: vec![0, 0] });
    }
    Ok(([rows, columns], numbers))
}

/// The numbers of a row, or the first column that is none.
fn row(record: &StringRecord) -> Result<Vec<f64>, usize> {
    let number = |(column, cell): (usize, &str)| {
        let number = cell.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or(column)
    };
    record.iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_samples() {
        let array = read("y.csv", b"a, b\n1, 2.5\n\n# no row\n-3e1,4\n").unwrap();
        assert_eq!(array.shape, [2, 2]);
        assert_eq!(array.read_f64().unwrap(), [1.0, 2.5, -30.0, 4.0]);
        assert_eq!(read("y.csv", b"7").unwrap().shape, [1, 1]);
    }

    #[test]
    fn bad_tables_are_named() {
        for (text, words) in [
            ("", "holds no sample"),
            ("a,b\n", "holds no sample"),
            ("1,2\n3\n", "line 2 has 1 numbers; the rows before it have 2"),
            ("1,nan\n3,4\n", "line 1, column 2: `nan` is no finite number"),
            ("1,2\n3,x\n", "line 2, column 2: `x` is no finite number"),
            ("1,2\n3,nan\n", "line 2, column 2: `nan` is no finite number"),
            ("1,2\n\"3,\u{0}\n", "line 2"),
        ] {
            let error = read("y.csv", text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.starts_with("y.csv: "),
                "{text:?}: {error}"
            );
        }
    }
}
