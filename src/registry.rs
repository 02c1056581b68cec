//! Plain tables of the things a job can name: what is read by `list`, by messages about
//! unknown names and by the contract tests. Adding a thing is one file and one row.

use crate::document::{Document, Section, Settings, unknown};
use crate::error::{Error, Result};

/// A component as a resolved job names it: `kind` and every option, defaults filled in.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Name of the row in its registry.
    pub kind: String,
    /// Every option of that row.
    #[serde(flatten)]
    pub options: toml::Table,
}

/// One row. `B` is the type of the row's constructor.
pub struct Entry<B> {
    /// The `kind` a job file writes.
    pub name: &'static str,
    /// One line for `sluicebox list`.
    pub about: &'static str,
    /// Types and checks the options: [`resolve`] of the component's settings.
    pub resolve: fn(&mut Document, Section<'_>) -> Option<toml::Table>,
    /// Makes the component from resolved options.
    pub build: B,
}

/// A table of rows of one sort.
pub struct Registry<B: 'static> {
    /// What the rows are, in the singular: "source".
    pub what: &'static str,
    /// The rows.
    pub entries: &'static [Entry<B>],
}

impl<B> Registry<B> {
    /// The names of all rows.
    pub fn names(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.name).collect()
    }

    /// The row called `name`.
    pub fn find(&self, name: &str) -> Result<&'static Entry<B>> {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        entry.ok_or_else(|| Error::Request(unknown(self.what, name, &self.names())))
    }

    /// Reads a section with a `kind` and its options; `default` stands in for an absent kind.
    pub fn resolve(
        &self,
        document: &mut Document,
        mut section: Section<'_>,
        default: Option<&str>,
    ) -> Option<Spec> {
        let given = section.keys().iter().any(|key| key == "kind");
        if !given && default.is_none() {
            let known = self.names().join(", ");
            document.fault(&section, "", format!("missing key `kind` (known: {known})"));
            return None;
        }
        let whole = section.clone();
        let kind = match document.string(&mut section, "kind") {
            Some(kind) => kind,
            None if given => return None,
            None => default?.to_string(),
        };
        match self.find(&kind) {
            Err(error) => {
                document.fault(&whole, "kind", error.to_string());
                None
            }
            Ok(entry) => {
                let options = (entry.resolve)(document, section)?;
                Some(Spec { kind, options })
            }
        }
    }
}

/// Types the options of a component as `T`, checks them and writes them out in full.
pub fn resolve<T: Settings>(document: &mut Document, section: Section<'_>) -> Option<toml::Table> {
    let settings: T = document.read(section)?;
    toml::Table::try_from(&settings).ok()
}

/// The settings a resolved spec holds.
pub fn settings<T: Settings>(spec: &Spec) -> Result<T> {
    let typed = spec.options.clone().try_into();
    typed.map_err(|error: toml::de::Error| Error::request(format!("{}: {}", spec.kind, error.message())))
}
