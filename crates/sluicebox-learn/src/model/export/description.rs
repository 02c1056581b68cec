//! What a file says of the network in it.

use serde::Serialize;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Shape};
use std::collections::BTreeMap;

/// What a file says of the network in it. Accuracies are those of the last evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Shape of a sample without the batch: `[channels, height, width]` or `[features]`.
    pub shape: Vec<usize>,
    /// Type of the stored values, `u8` or `f32`.
    pub dtype: String,
    /// Factor from a stored value to the network's input.
    pub scale: f32,
    /// Steps after which the teacher was saved.
    pub step: u64,
    /// The job's `[model]`: kind and options, among them those of batch norm.
    pub model: serde_json::Value,
    /// Accuracy of the job's answers on held-out samples; none if they were never evaluated.
    pub accuracy: Option<f64>,
    /// Accuracy of the network alone on the same samples.
    pub network_accuracy: Option<f64>,
    /// Steps after which they were evaluated.
    pub evaluated_step: Option<u64>,
}

impl Description {
    /// Describes a network that was never evaluated, for samples of a format.
    pub fn new(format: &Format, step: u64, model: serde_json::Value) -> Result<Self> {
        let shape = match format.shape {
            Shape::Image { channels, height, width } => vec![channels, height, width],
            Shape::Vector { features } => vec![features],
        };
        let dtype = serde_json::to_value(format.dtype).map_err(Error::request)?;
        Ok(Self {
            classes: format.classes.clone(),
            shape,
            dtype: dtype.as_str().unwrap_or_default().to_string(),
            scale: format.scale,
            step,
            model,
            accuracy: None,
            network_accuracy: None,
            evaluated_step: None,
        })
    }

    /// Returns the entries as text: a text as it is, anything else as JSON. What is not known has none.
    pub fn entries(&self) -> Result<BTreeMap<String, String>> {
        let values = serde_json::to_value(self).map_err(Error::request)?;
        let entries = values.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        Ok(entries.map(|(name, value)| (name.clone(), text(value))).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use sluicebox_core::sample::Dtype;

    pub fn described(shape: Shape) -> Description {
        let classes = vec!["ant".to_string(), "bee \"b\"".to_string(), "cat".to_string()];
        let format = Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes };
        Description::new(&format, 7, serde_json::json!({ "kind": "mlp", "hidden": [4] })).unwrap()
    }

    #[test]
    fn what_is_not_known_has_no_entry() {
        let entries = described(Shape::Vector { features: 5 }).entries().unwrap();
        let of = |name: &str| entries.get(name).map(String::as_str);
        assert_eq!((of("shape"), of("dtype"), of("step")), (Some("[5]"), Some("u8"), Some("7")));
        assert_eq!(of("classes"), Some(r#"["ant","bee \"b\"","cat"]"#));
        assert_eq!((of("model"), of("accuracy")), (Some(r#"{"hidden":[4],"kind":"mlp"}"#), None));
        assert_eq!(of("scale").unwrap().parse::<f32>().unwrap(), 1.0 / 255.0);
    }
}
