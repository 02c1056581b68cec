//! Kafka as it is run.

mod avro;
mod broker;
mod certificates;
mod lag;
mod registry;
mod sasl;
mod secured;
