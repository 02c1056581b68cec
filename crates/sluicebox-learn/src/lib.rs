//! What is learned: views, models, methods, replay, adaptation and optimisers. The only package below
//! the engine that links libtorch.

pub mod adapt;
pub mod augmentation;
pub mod class_weights;
pub mod confusion_matrix;
pub mod device;
pub mod evaluation;
pub mod generator;
pub mod id_ring;
pub mod input;
pub mod loss;
pub mod messages;
pub mod method;
pub mod mixing;
pub mod model;
pub mod optimiser;
pub mod pseudo_labels;
pub mod published;
pub mod regularise;
pub mod replay;
pub mod schedule;
pub mod stages;
pub mod standardise;
pub mod torch;
pub mod weights;
pub mod window;
