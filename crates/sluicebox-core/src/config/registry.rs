//! Tables of the components that a job can name. `list`, messages about unknown names and the contract tests
//! read them. To add a component, add one file and one row.

use crate::config::document::{Document, Section, Settings, unknown};
use crate::config::schema;
use crate::error::{Error, Result};
use serde_json::Value;

/// A component as a resolved job names it: `kind` and every option, with defaults filled in.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Name of the row in its registry.
    pub kind: String,
    /// Every option of that row.
    #[serde(flatten)]
    pub options: toml::Table,
}

/// A row. `B` is the type of the row's constructor.
pub struct Entry<B> {
    /// The `kind` in a job file.
    pub name: &'static str,
    /// One-line description for `sluicebox list`.
    pub about: &'static str,
    /// Types and checks the options: [`resolve`] of the component's settings.
    pub resolve: fn(&mut Document, Section<'_>) -> Option<toml::Table>,
    /// Returns the options that a resumed job may change: [`Settings::changeable`].
    pub changeable: fn() -> &'static [&'static str],
    /// Returns the JSON Schema of the options: [`schema::of`] the component's settings.
    pub schema: fn() -> Value,
    /// Builds the component from resolved options.
    pub build: B,
}

impl<B> Entry<B> {
    /// A row for a component with settings `S`.
    pub const fn new<S: Settings>(name: &'static str, about: &'static str, build: B) -> Self {
        Self { name, about, resolve: resolve::<S>, changeable: S::changeable, schema: schema::of::<S>, build }
    }
}

/// A table of components of one sort.
pub struct Registry<B: 'static> {
    /// Sort of the rows, in the singular: "source".
    pub what: &'static str,
    /// The rows.
    pub entries: &'static [Entry<B>],
}

impl<B> Registry<B> {
    /// Returns the names of all rows.
    pub fn names(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.name).collect()
    }

    /// Returns the row called `name`.
    pub fn find(&self, name: &str) -> Result<&'static Entry<B>> {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        entry.ok_or_else(|| Error::Request(unknown(self.what, name, &self.names())))
    }

    /// Reads a section with a `kind` and its options; `default` is used if the kind is absent.
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

/// Types the options of a component as `T`, checks them and returns them with every default filled in.
pub fn resolve<T: Settings>(document: &mut Document, section: Section<'_>) -> Option<toml::Table> {
    let settings: T = document.read(section)?;
    toml::Table::try_from(&settings).ok()
}

/// Returns the settings in a resolved spec.
pub fn settings<T: Settings>(spec: &Spec) -> Result<T> {
    let typed = spec.options.clone().try_into();
    typed.map_err(|error: toml::de::Error| Error::request(format!("{}: {}", spec.kind, error.message())))
}
