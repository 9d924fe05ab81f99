//! Search kernels and indexes: what makes mining fast.

pub mod index;
#[allow(unsafe_code)]
pub mod kernel;
