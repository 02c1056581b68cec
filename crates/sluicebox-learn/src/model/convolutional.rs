//! Convolutional networks that end in one linear layer. Each describes its body; training, folding and
//! inference are the same for all.

use crate::model::api::{Model, Output};
use crate::model::layers::{BatchNorm, ConvNorm, Convolution, Linear};
use crate::model::layout::Layout;
use tch::{Kind, Tensor};

/// A layer with weights.
pub enum Layer<'a> {
    /// Batch norm that no convolution can take in.
    Norm(&'a BatchNorm),
    /// A convolution and the batch norm after it.
    ConvNorm(&'a ConvNorm),
    /// A convolution alone.
    Convolution(&'a Convolution),
}

impl Layer<'_> {
    fn norm(&self) -> Option<&BatchNorm> {
        match self {
            Layer::Norm(norm) => Some(norm),
            Layer::ConvNorm(layer) => Some(&layer.norm),
            Layer::Convolution(_) => None,
        }
    }
}

/// The network before its last layer.
pub trait Body {
    /// Returns the layers in the order in which [`Body::forward`] applies them.
    fn layers(&self) -> Vec<Layer<'_>>;

    /// Returns the features `[N, F]` of `input` `[N, C, H, W]`; `apply` runs a layer on an image.
    fn forward(&self, input: &Tensor, apply: impl FnMut(Layer<'_>, &Tensor) -> Tensor) -> Tensor;
}

/// A body and its classifier.
pub struct Convolutional<B> {
    /// Places of all weights, arranged.
    pub layout: Layout,
    /// The network before the classifier.
    pub body: B,
    /// F: number of features.
    pub features: i64,
    /// The last layer.
    pub classifier: Linear,
}

impl<B: Body> Model for Convolutional<B> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Output {
        let features = self.body.forward(input, |layer, image| match layer {
            Layer::Norm(norm) => norm.train(parameters, buffers, image, passes),
            Layer::ConvNorm(layer) => layer.train(parameters, buffers, image, passes),
            Layer::Convolution(convolution) => convolution.train(parameters, image),
        });
        let logits = self.classifier.train(parameters, &features).to_kind(Kind::Float);
        Output { logits, features, heads: Vec::new() }
    }

    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        let layers = self.body.layers();
        let norms: Vec<&BatchNorm> = layers.iter().filter_map(Layer::norm).collect();
        let mut affine = BatchNorm::affine(&norms, parameters, buffers, copies[0].kind()).into_iter();
        let mut folded = Vec::new();
        for layer in &layers {
            match (layer, layer.norm().and_then(|_| affine.next())) {
                (Layer::ConvNorm(layer), Some(affine)) => {
                    layer.fold(&affine, parameters, &copies, &mut folded);
                }
                (Layer::Convolution(convolution), _) => convolution.fold(&copies, &mut folded),
                (_, affine) => affine.iter().for_each(|affine| BatchNorm::fold(affine, &mut folded)),
            }
        }
        self.classifier.fold(&copies, &mut folded);
        folded
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let mut folded = folded.iter();
        let features = self.body.forward(input, |layer, image| match layer {
            Layer::Norm(_) => BatchNorm::infer(&mut folded, image),
            Layer::ConvNorm(layer) => layer.infer(&mut folded, image),
            Layer::Convolution(convolution) => convolution.infer(&mut folded, image),
        });
        let logits = Linear::infer(&mut folded, &features).to_kind(Kind::Float);
        Output { logits, features, heads: Vec::new() }
    }
}
