//! What the gateway asks about the process around it. The binary answers. What workers do is asked of the workers
//! themselves: see the fleet.

/// Implemented by the binary, which knows the roles of its process and how it was set up.
pub trait SystemInfo: Send + Sync + 'static {
    /// Roles running in this process, such as `gateway`, `worker`.
    fn roles(&self) -> Vec<String>;

    /// What this very process still waits for before it can work, such as a model being loaded. Told while no worker
    /// is ready.
    fn waiting_for(&self) -> Option<String>;

    /// What an acknowledged write survives, for people: `/readyz?verbose` shows it.
    fn durability(&self) -> String;

    /// Engine of the queue, such as `memory`.
    fn queue_engine(&self) -> String;
}
