//! The modules of a TorchScript network: one for each prefix of the weights' names, so that `features.0.weight` is
//! the `weight` of the module `0` of the module `features`, as in PyTorch.

use crate::model::export::pickle::Pickle;
use crate::model::layout::Slot;

/// Class of the outermost module.
pub const ROOT: &str = "Network";

/// A tensor of a module.
struct Value {
    name: String,
    /// Index among the tensors of the network.
    index: usize,
    shape: Vec<i64>,
    trained: bool,
}

/// A module with its own tensors and those within it.
pub struct Part {
    class: String,
    values: Vec<Value>,
    parts: Vec<(String, Part)>,
}

impl Part {
    /// Returns the outermost module of a network with these tensors: first the trained ones, then the others.
    pub fn of(parameters: &[Slot], buffers: &[Slot]) -> Self {
        let mut root = Self::new(ROOT.into());
        let mut classes = 0;
        for (index, slot) in parameters.iter().chain(buffers).enumerate() {
            let (path, name) = slot.name.rsplit_once('.').unwrap_or(("", &slot.name));
            let mut part = &mut root;
            for step in path.split('.').filter(|step| !step.is_empty()) {
                let at = part.parts.iter().position(|(name, _)| name == step);
                let at = at.unwrap_or_else(|| {
                    classes += 1;
                    part.parts.push((step.into(), Self::new(format!("Part{classes}"))));
                    part.parts.len() - 1
                });
                part = &mut part.parts[at].1;
            }
            let (name, shape, trained) = (name.into(), slot.shape.clone(), index < parameters.len());
            part.values.push(Value { name, index, shape, trained });
        }
        root
    }

    fn new(class: String) -> Self {
        Self { class, values: Vec::new(), parts: Vec::new() }
    }

    /// Returns the source of the classes. The outermost one has the method `forward`.
    pub fn source(&self, forward: &str) -> String {
        let names = |trained: bool| -> String {
            let names = self.values.iter().filter(|value| value.trained == trained);
            names.map(|value| format!("\"{}\", ", value.name)).collect()
        };
        let mut source = format!(
            "class {}(Module):\n  __parameters__ = [{}]\n  __buffers__ = [{}]\n",
            self.class,
            names(true),
            names(false)
        );
        self.values.iter().for_each(|value| source += &format!("  {} : Tensor\n", value.name));
        source += "  training : bool\n  _is_full_backward_hook : Optional[bool]\n";
        for (name, part) in &self.parts {
            source += &match is_word(name) {
                true => format!("  {name} : __torch__.{}\n", part.class),
                false => format!("  __annotations__[\"{name}\"] = __torch__.{}\n", part.class),
            };
        }
        source += forward;
        self.parts.iter().for_each(|(_, part)| source += &part.source(""));
        source
    }

    /// Writes the values of the module.
    pub fn pickle(&self, pickle: &mut Pickle) {
        pickle.object(&self.class, |pickle| {
            for Value { name, index, shape, trained } in &self.values {
                pickle.text(name);
                pickle.tensor(*index, shape, *trained);
            }
            pickle.text("training");
            pickle.truth(false);
            pickle.text("_is_full_backward_hook");
            pickle.none();
            for (name, part) in &self.parts {
                pickle.text(name);
                part.pickle(pickle);
            }
        });
    }
}

/// Returns the expression for a tensor, such as `getattr(self.features, "0").weight`.
pub fn expression(name: &str) -> String {
    name.split('.').fold("self".to_string(), |of, step| match is_word(step) {
        true => format!("{of}.{step}"),
        false => format!("getattr({of}, \"{step}\")"),
    })
}

/// Returns whether Python takes `name` for a name of its own.
fn is_word(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::{Init, Layout};
    use tch::Kind;

    #[test]
    fn modules_are_nested_as_the_names_are() {
        assert_eq!(expression("features.0.weight"), "getattr(self.features, \"0\").weight");
        let mut layout = Layout::default();
        layout.parameter("features.0.weight".into(), &[2, 3], Init::Constant(0.0));
        layout.parameter("fc.bias".into(), &[2], Init::Constant(0.0));
        layout.buffer("features.0.mean".into(), &[2], Kind::Float, Init::Constant(0.0));
        let source = Part::of(&layout.parameters, &layout.buffers).source("  def forward\n");
        assert_eq!(
            source,
            "class Network(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  \
             _is_full_backward_hook : Optional[bool]\n  features : __torch__.Part1\n  fc : __torch__.Part3\n  def \
             forward\n\
             class Part1(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  \
             _is_full_backward_hook : Optional[bool]\n  __annotations__[\"0\"] = __torch__.Part2\n\
             class Part2(Module):\n  __parameters__ = [\"weight\", ]\n  __buffers__ = [\"mean\", ]\n  weight : \
             Tensor\n  mean : Tensor\n  training : bool\n  _is_full_backward_hook : Optional[bool]\n\
             class Part3(Module):\n  __parameters__ = [\"bias\", ]\n  __buffers__ = []\n  bias : Tensor\n  training : \
             bool\n  _is_full_backward_hook : Optional[bool]\n"
        );
    }
}
