//! One replica of a model: all parameters are views of one flat tensor, all buffers of another.

use crate::device::Compute;
use crate::messages::Weights;
use crate::model::layout::{Layout, Slot};
use crate::torch::TorchResult;
use safetensors::{Dtype, tensor::TensorView};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use tch::{Kind, Tensor};

/// Flat weights and the views that a model works with.
pub struct Replica {
    layout: Layout,
    compute: Compute,
    /// `[parameters]` f32.
    pub parameters: Tensor,
    /// `[buffers]` f32.
    pub buffers: Tensor,
    views: Vec<Tensor>,
    buffer_views: Vec<Tensor>,
}

impl Replica {
    /// Creates a replica with the model's first weights.
    pub fn first(layout: &Layout, compute: Compute, draws: &mut Draws) -> Self {
        let parameters = Layout::first(&layout.parameters, draws).to_device(compute.device);
        let buffers = Layout::first(&layout.buffers, draws).to_device(compute.device);
        Self::with(layout, compute, parameters, buffers)
    }

    /// Creates a replica that owns these flat tensors.
    pub fn with(layout: &Layout, compute: Compute, parameters: Tensor, buffers: Tensor) -> Self {
        let view = |slots: &[Slot], flat: &Tensor| slots.iter().map(|slot| slot.view(flat)).collect();
        Self {
            views: view(&layout.parameters, &parameters),
            buffer_views: view(&layout.buffers, &buffers),
            layout: layout.clone(),
            compute,
            parameters,
            buffers,
        }
    }

    /// Returns the f32 parameters in the layout's order.
    pub fn parameters(&self) -> &[Tensor] {
        &self.views
    }

    /// Returns the buffers in the layout's order.
    pub fn buffers(&self) -> &[Tensor] {
        &self.buffer_views
    }

    /// Returns the parameters to compute with, in the layout's order, as leaves that require a
    /// gradient. In bf16 the weights are one cast of the flat tensor; biases and batch norm stay f32.
    pub fn leaves(&self) -> Vec<Tensor> {
        let views = match self.compute.kind() {
            Kind::Float => self.views.iter().map(Tensor::shallow_clone).collect(),
            kind => tch::no_grad(|| self.cast(kind)),
        };
        views.into_iter().map(|view: Tensor| view.detach().set_requires_grad(true)).collect()
    }

    /// Returns copies of the parameters in another number type, or the same, in the layout's order.
    pub fn copies(&self, kind: Kind) -> Vec<Tensor> {
        let flat = self.parameters.to_device_(self.compute.device, kind, false, true);
        self.layout.parameters.iter().map(|slot| slot.view(&flat)).collect()
    }

    fn cast(&self, kind: Kind) -> Vec<Tensor> {
        let weights = self.parameters.narrow(0, 0, self.layout.decayed).to_kind(kind);
        let slots = self.layout.parameters.iter().zip(&self.views);
        slots
            .map(|(slot, view)| match slot.offset < self.layout.decayed {
                true => slot.view(&weights),
                false => view.shallow_clone(),
            })
            .collect()
    }

    /// Flattens the gradients of [`Replica::leaves`]: `[parameters]` f32. A weight on which the
    /// loss does not depend gets 0.
    pub fn flatten(&self, gradients: &[Tensor]) -> Tensor {
        let part = |index: usize| {
            let (slot, gradient) = (&self.layout.parameters[index], &gradients[index]);
            match gradient.defined() {
                true => slot.flatten(gradient),
                false => self.parameters.new_zeros([slot.len()], (Kind::Float, self.compute.device)),
            }
        };
        let parts: Vec<Tensor> = self.layout.by_offset().into_iter().map(part).collect();
        let flat = self.parameters.empty_like();
        let mut first = 0;
        // A GPU joins tensors of one kind in one operation, and takes a copy for each of several kinds.
        for same in parts.chunk_by(|one, other| one.kind() == other.kind()) {
            let count = same.iter().map(|part| part.numel() as i64).sum();
            let mut joined = flat.narrow(0, first, count);
            first += count;
            match same[0].kind() {
                Kind::Float => drop(Tensor::cat_out(&joined, same, 0)),
                _ => joined.copy_(&Tensor::cat(same, 0)),
            }
        }
        flat
    }
}

/// Copies weights under PyTorch's names and in its shapes, for `model.safetensors`.
pub fn named(layout: &Layout, weights: &Weights) -> Vec<(String, Tensor)> {
    let copies = |slots: &[Slot], flat: &Tensor| -> Vec<(String, Tensor)> {
        let flat = flat.to_device(tch::Device::Cpu);
        let copy = |slot: &Slot| (slot.name.clone(), slot.view(&flat).copy().contiguous());
        slots.iter().map(copy).collect()
    };
    let mut named = copies(&layout.parameters, &weights.parameters);
    for (name, tensor) in copies(&layout.buffers, &weights.buffers) {
        let counter = name.strip_suffix("running_var").map(|norm| format!("{norm}num_batches_tracked"));
        let counted = |counter: &String| layout.buffers.iter().any(|slot| slot.name == *counter);
        if let Some(counter) = counter.filter(|counter| !counted(counter)) {
            named.push((counter, Tensor::from(weights.step as i64)));
        }
        named.push((name, tensor));
    }
    named
}

/// Returns named tensors, all on the CPU, as the bytes of a `.safetensors` file.
pub fn safetensors(named: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::Engine(format!("cannot write the weights: {error}"));
    let mut parts = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        let dtype = match tensor.kind() {
            Kind::Int64 => Dtype::I64,
            Kind::Double => Dtype::F64,
            _ => Dtype::F32,
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).torch()?;
        parts.push((name, dtype, tensor.size().iter().map(|size| *size as usize).collect::<Vec<_>>(), bytes));
    }
    let views = parts.iter().map(|(name, dtype, shape, bytes)| {
        Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| failed(&error))?))
    });
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, &None).map_err(|error| failed(&error))
}

/// Builds weights from tensors under PyTorch's names: the inverse of [`named`].
pub fn from_named(layout: &Layout, step: u64, named: &[(String, Tensor)]) -> Result<Weights> {
    let gather = |slots: &[Slot], order: Vec<usize>| -> Result<Tensor> {
        let mut parts = Vec::new();
        for slot in order.into_iter().map(|index| &slots[index]) {
            let found = named.iter().find(|(name, _)| *name == slot.name).map(|(_, tensor)| tensor);
            let Some(tensor) = found.filter(|tensor| tensor.size() == slot.shape) else {
                let reason = format!("the model has no `{}` of shape {:?}", slot.name, slot.shape);
                return Err(Error::Request(reason));
            };
            parts.push(slot.flatten(tensor));
        }
        let none = Tensor::zeros([0], (Kind::Float, tch::Device::Cpu));
        Ok(if parts.is_empty() { none } else { Tensor::cat(&parts, 0) })
    };
    Ok(Weights {
        step,
        parameters: gather(&layout.parameters, layout.by_offset())?,
        buffers: gather(&layout.buffers, (0..layout.buffers.len()).collect())?,
    })
}
