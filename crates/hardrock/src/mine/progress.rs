//! How a run tells what it is doing, without knowing who listens.

/// Listens to a run. Called from several threads.
pub trait Progress: Sync {
    /// A new stage begins: its name, how much there is to do, in which unit.
    fn stage(&self, name: &str, total: u64, unit: &str);
    /// So much more is done.
    fn advance(&self, n: u64);
    /// Something a person should know now.
    fn notice(&self, text: &str);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn notice(&self, _: &str) {}
}
