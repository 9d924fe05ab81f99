//! Search kernels, indexes and encoders: what makes mining fast.

pub mod encoders;
pub mod index;
#[allow(unsafe_code)]
pub mod kernel;
pub mod training;
