//! The keys of a job as parameters: `optimiser.learning_rate`.

use toml::Value;

/// MLflow takes no longer values.
const LONGEST: usize = 6000;

/// Returns the keys and values of a job file, in its order.
pub fn of(job: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Ok(table) = toml::from_str::<toml::Table>(job) {
        add("", &Value::Table(table), &mut found);
    }
    found
}

fn add(key: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let below = |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| add(&below(name), value, found)),
        Value::Array(all) if all.iter().any(Value::is_table) => {
            all.iter().enumerate().for_each(|(at, value)| add(&below(&at.to_string()), value, found));
        }
        Value::String(text) => found.push((plain(key), text.chars().take(LONGEST).collect())),
        other => found.push((plain(key), other.to_string().chars().take(LONGEST).collect())),
    }
}

/// Returns a key in the letters that MLflow allows.
fn plain(key: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ');
    key.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_of_a_job_is_a_parameter() {
        let job = "name = \"a\"\n[optimiser]\nlearning_rate = 0.03\n[model]\nhidden = [64, 32]\n\
                   [[source]]\nkind = \"digits\"\n[[source]]\nkind = \"csv\"\n";
        let found = super::of(job);
        let of = |key: &str| found.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(of("optimiser.learning_rate"), Some("0.03"));
        assert_eq!(of("model.hidden"), Some("[64, 32]"));
        assert_eq!((of("source.0.kind"), of("source.1.kind")), (Some("digits"), Some("csv")));
        assert_eq!(super::plain("views.strong.0/é"), "views.strong.0__");
    }
}
