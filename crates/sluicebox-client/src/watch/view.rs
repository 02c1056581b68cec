//! The views of the screen: one of them fills it at a time.

/// The view that fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Overview: as many panes as fit.
    #[default]
    All,
    /// Charts of the meters over epochs.
    Charts,
    /// Drawing of the dataflow.
    Flow,
    /// Table of the classes.
    Classes,
    /// The job's log.
    Log,
    /// Every meter, with its meaning.
    Numbers,
}

impl View {
    /// All views, in the order of their keys.
    pub const EVERY: [View; 6] =
        [View::All, View::Charts, View::Flow, View::Classes, View::Log, View::Numbers];

    /// Name shown in the tab.
    pub fn name(self) -> &'static str {
        match self {
            View::All => "all",
            View::Charts => "charts",
            View::Flow => "flow",
            View::Classes => "classes",
            View::Log => "log",
            View::Numbers => "numbers",
        }
    }
}
