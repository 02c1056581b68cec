//! Labels of numbers whose key is not how people say it. The others are their keys as words.

/// Key and label.
const SAID: [(&str, &str); 17] = [
    ("average_anytime_accuracy", "average accuracy at any time"),
    ("gate_closed_classes", "classes with a closed gate"),
    ("gpu_busy_fraction", "GPU busy"),
    ("gpu_memory_mib", "GPU memory"),
    ("label_delay_samples", "label delay"),
    ("min_accuracy", "least accuracy"),
    ("near_future_accuracy", "near-future accuracy"),
    ("near_future_shift", "near-future shift"),
    ("network_prequential_accuracy_total", "network prequential accuracy, whole job"),
    ("prequential_accuracy_total", "prequential accuracy, whole job"),
    ("prequential_accuracy_window", "prequential accuracy, newest"),
    ("pseudo_label_precision", "pseudo-label precision"),
    ("pseudo_labels", "pseudo-labels"),
    ("seconds", "time of an epoch"),
    ("stage_fraction", "own work"),
    ("teacher_lag_steps", "teacher lag"),
    ("worst_case_accuracy", "worst-case accuracy"),
];

/// Returns the label of a key: `samples_per_s` becomes `samples/s`.
pub fn label(key: &str) -> String {
    if let Some((_, said)) = SAID.iter().find(|(name, _)| *name == key) {
        return (*said).into();
    }
    let ends = ["_mib", "_fraction", "_seconds"];
    let name = ends.iter().find_map(|end| key.strip_suffix(end)).unwrap_or(key);
    let name = match (name.strip_suffix("_per_s"), name.strip_prefix("us_per_")) {
        (Some(rate), _) => format!("{rate}/s"),
        (_, Some(cost)) => format!("µs/{cost}"),
        _ => name.into(),
    };
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SETS;

    #[test]
    fn keys_become_what_people_say() {
        let pairs = [
            ("student_samples_per_s", "student samples/s"),
            ("resident_memory_mib", "resident memory"),
            ("credit_wait_fraction", "credit wait"),
            ("student_passes_per_sample", "student passes per sample"),
            ("us_per_sample", "µs/sample"),
            ("gate_closed", "gate closed"),
            ("pseudo_label_precision", "pseudo-label precision"),
        ];
        for (key, said) in pairs {
            assert_eq!(label(key), said);
        }
    }

    #[test]
    fn labels_are_of_numbers_that_exist_and_differ_within_a_set() {
        for (name, _) in SAID {
            let known = SETS.iter().any(|set| set.meters.iter().any(|meter| meter.name == name));
            assert!(known, "{name}");
        }
        for set in SETS {
            let mut labels: Vec<String> = set.meters.iter().map(|meter| meter.label()).collect();
            let count = labels.len();
            labels.sort();
            labels.dedup();
            assert_eq!(labels.len(), count, "{}", set.key);
        }
    }
}
