//! The recorded figures: one file for this test and for `tools/guard.py`, with a section for each.

use std::{collections::BTreeMap, env, fmt::Debug, sync::Mutex};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::file;

/// The file.
const RECORDED: &str = "tests/guard/recorded.json";

/// If it is set, the figures are written instead of compared. `make figures` sets it.
const WRITE: &str = "ASP_EVENTS_WRITE_FIGURES";

/// The tests of the sections run at the same time.
static FILE: Mutex<()> = Mutex::new(());

/// Compares the figures of a section, by name, with the recorded ones.
pub(crate) fn assert_recorded<F>(section: &str, figures: &BTreeMap<String, F>)
where
    F: Debug + PartialEq + Serialize + DeserializeOwned,
{
    let _guard = FILE.lock().unwrap();
    let all: Value = serde_json::from_str(&file(RECORDED)).unwrap();
    if env::var_os(WRITE).is_some() {
        return write(all, section, figures);
    }
    let recorded: BTreeMap<String, F> =
        serde_json::from_value(all[section].clone()).unwrap_or_default();
    let mut differences = Vec::new();
    for (name, figure) in figures {
        let before = recorded.get(name);
        if before != Some(figure) {
            differences.push(format!("{name}: recorded {before:?}, now {figure:?}"));
        }
    }
    for name in recorded.keys().filter(|name| !figures.contains_key(*name)) {
        differences.push(format!("{name}: recorded, and there is no such figure"));
    }
    assert!(
        differences.is_empty(),
        "{section}: more than recorded in {RECORDED} is to be avoided; less, or more for a good \
         reason, is to be recorded: make figures\n{}",
        differences.join("\n")
    );
}

/// Replaces a section of the file.
fn write<F: Serialize>(mut all: Value, section: &str, figures: &BTreeMap<String, F>) {
    all[section] = serde_json::to_value(figures).unwrap();
    let text = serde_json::to_string_pretty(&all).unwrap();
    let path = format!("{}/{RECORDED}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, format!("{text}\n")).unwrap();
}
