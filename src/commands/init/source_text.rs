//! The section `[source]` of a job file, key by key, with comments.

/// Labelled samples per class, unless the user says how many there are.
pub const PER_CLASS: usize = 25;

/// Lines of a section.
#[derive(Default)]
pub struct SourceText {
    lines: Vec<String>,
    /// What to tell about the data besides.
    pub notes: Vec<String>,
}

impl SourceText {
    /// Begins with the kind of the source.
    pub fn of(kind: &str) -> Self {
        Self::default().with("kind", text(kind), "")
    }

    /// Adds a key, its value in TOML and a comment, which may be empty.
    pub fn with(mut self, key: &str, value: impl Into<String>, comment: &str) -> Self {
        let space = if comment.is_empty() { "" } else { " # " };
        self.lines.push(format!("{key} = {}{space}{comment}", value.into()));
        self
    }

    /// Adds a key whose value is a text, if there is one.
    pub fn with_text(self, key: &str, value: Option<&str>, comment: &str) -> Self {
        match value {
            Some(value) => self.with(key, text(value), comment),
            None => self,
        }
    }

    /// Adds a key whose value is a list, unless it is empty.
    pub fn with_list(self, key: &str, values: &[impl AsRef<str>], comment: &str) -> Self {
        match values {
            [] => self,
            values => self.with(key, list(values), comment),
        }
    }

    /// Adds how many samples are labelled from the start.
    pub fn labelled(self, count: Option<usize>) -> Self {
        let meaning = "samples whose class the job may know";
        match count {
            Some(count) => self.with("labelled", count.to_string(), meaning),
            None => self.with("labelled_per_class", PER_CLASS.to_string(), meaning),
        }
    }

    /// Returns whether the section has a key.
    pub fn has(&self, key: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(&format!("{key} = ")))
    }

    /// Returns the same with other values of these keys, where it has them.
    pub fn fewer(&self, values: &[(&str, usize)]) -> Self {
        let changed = |line: &String| {
            let value = values.iter().find(|(key, _)| line.starts_with(&format!("{key} = ")));
            match (value, line.split_once(" # ")) {
                (Some((key, value)), Some((_, comment))) => format!("{key} = {value} # {comment}"),
                _ => line.clone(),
            }
        };
        Self { lines: self.lines.iter().map(changed).collect(), notes: self.notes.clone() }
    }

    /// Adds a comment in a line of its own.
    pub fn remark(mut self, comment: &str) -> Self {
        self.lines.push(format!("# {comment}"));
        self
    }

    /// Returns the section with its head.
    pub fn section(&self) -> String {
        format!("[source]\n{}\n", self.lines.join("\n"))
    }
}

/// Returns a text in TOML.
pub fn text(value: &str) -> String {
    toml::Value::String(value.into()).to_string()
}

/// Returns a list of texts in TOML.
pub fn list(values: &[impl AsRef<str>]) -> String {
    let values: Vec<String> = values.iter().map(|value| text(value.as_ref())).collect();
    format!("[{}]", values.join(", "))
}

/// Returns a column as a job names it: its name, or its place.
pub fn column(name: &str) -> String {
    name.parse::<i64>().map_or_else(|_| text(name), |place| place.to_string())
}

/// Returns a shape in TOML.
pub fn shape(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(", "))
}
