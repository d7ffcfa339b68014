//! Labelled boxes, as COCO's JSON files of instances have them: <https://cocodataset.org/#format-data>.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::error::{DataError, DataProblem};

/// The labelled boxes of a set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Coco {
    /// The images, in the file's order.
    pub images: Vec<Image>,
    /// The kinds of things, by ascending id.
    pub categories: Vec<Category>,
    /// The boxes, in the file's order. Each is of an image and a category that there is.
    pub boxes: Vec<TrueBox>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Image {
    /// Its number.
    pub id: u64,
    /// Its width in pixels, where it is told.
    pub width: Option<f64>,
    /// Its height in pixels, where it is told.
    pub height: Option<f64>,
}

/// A kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Category {
    /// Its number.
    pub id: u64,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// A labelled box.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TrueBox {
    /// The image it is in.
    pub image_id: u64,
    /// What it holds.
    pub category_id: u64,
    /// Left, top, width and height in pixels.
    pub bbox: [f64; 4],
    /// Whether it stands for many things that are not told apart: what is found in it is neither right nor wrong.
    #[serde(default, rename = "iscrowd", deserialize_with = "zero_or_one")]
    pub is_crowd: bool,
}

#[derive(Deserialize)]
struct Instances {
    images: Vec<Image>,
    categories: Vec<Category>,
    annotations: Vec<TrueBox>,
}

fn zero_or_one<'d, D: serde::Deserializer<'d>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(u8::deserialize(deserializer)? != 0)
}

impl Coco {
    /// Reads a `.json` file.
    ///
    /// # Errors
    /// Where it is missing, no JSON of this form, or a box is of an image or a category that there is not.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| DataProblem::Unreadable(error).of(&name))?;
        Self::read(&name, &bytes)
    }

    /// The same from the bytes of a file, called `name` in messages.
    ///
    /// # Errors
    /// As [`Coco::open`].
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, DataError> {
        Self::parse(bytes).map_err(|reason| DataProblem::NotCoco(reason).of(name))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Instances {
            images,
            mut categories,
            annotations,
        } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let image_ids = distinct("images", images.iter().map(|image| image.id))?;
        let category_ids = distinct("categories", categories.iter().map(|category| category.id))?;
        for (i, annotation) in annotations.iter().enumerate() {
            let TrueBox {
                image_id,
                category_id,
                bbox,
                ..
            } = annotation;
            if !image_ids.contains(image_id) {
                return Err(format!(
                    "annotation {i} is of image {image_id}, which is not among the images"
                ));
            }
            if !category_ids.contains(category_id) {
                return Err(format!(
                    "annotation {i} is of category {category_id}, which is not among the categories"
                ));
            }
            if bbox[2] < 0.0 || bbox[3] < 0.0 {
                return Err(format!(
                    "annotation {i} has a box of width {} and height {}",
                    bbox[2], bbox[3]
                ));
            }
        }
        categories.sort_by_key(|category| category.id);
        Ok(Self {
            images,
            categories,
            boxes: annotations,
        })
    }
}

/// The numbers as a set.
fn distinct(what: &str, ids: impl Iterator<Item = u64>) -> Result<BTreeSet<u64>, String> {
    let mut met = BTreeSet::new();
    for id in ids {
        if !met.insert(id) {
            return Err(format!("two {what} have the id {id}"));
        }
    }
    Ok(met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_read() {
        let text = r#"{"info": {}, "images": [{"id": 7, "file_name": "a.jpg", "width": 4, "height": 3}, {"id": 2}],
            "categories": [{"id": 9, "name": "b"}, {"id": 3, "name": "a"}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 1, 2, 1.5], "iscrowd": 1},
                            {"id": 2, "image_id": 2, "category_id": 3, "bbox": [1, 1, 1, 1], "area": 1}]}"#;
        let coco = Coco::read("gt.json", text.as_bytes()).unwrap();
        assert_eq!(coco.images[0].width, Some(4.0));
        assert_eq!(coco.images[1].width, None);
        assert_eq!(coco.categories.iter().map(|c| c.id).collect::<Vec<_>>(), [3, 9]);
        assert_eq!(coco.boxes[0].bbox, [0.0, 1.0, 2.0, 1.5]);
        assert!(coco.boxes[0].is_crowd && !coco.boxes[1].is_crowd);
    }

    #[test]
    fn bad_instances_are_named() {
        let file = |images: &str, categories: &str, annotations: &str| {
            format!(
                r#"{{"images": [{images}], "categories": [{categories}], "annotations": [{annotations}]}}"#
            )
        };
        let of = |image: u64, category: u64, width: i32| {
            format!(r#"{{"image_id": {image}, "category_id": {category}, "bbox": [0, 0, {width}, 1]}}"#)
        };
        let (image, category) = (r#"{"id": 1}"#, r#"{"id": 5}"#);
        for (text, words) in [
            ("[]".to_owned(), "not COCO"),
            ("{\"images\": []}".to_owned(), "categories"),
            (
                file(&format!("{image}, {image}"), category, ""),
                "two images have the id 1",
            ),
            (file(image, category, &of(2, 5, 1)), "annotation 0 is of image 2"),
            (
                file(image, category, &of(1, 6, 1)),
                "annotation 0 is of category 6",
            ),
            (file(image, category, &of(1, 5, -1)), "width -1"),
        ] {
            let error = Coco::read("gt.json", text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.starts_with("gt.json: "),
                "{text}: {error}"
            );
        }
    }
}
