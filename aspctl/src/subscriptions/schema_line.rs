//! The first line of a subscriptions file, by which editors find the JSON Schema.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The schema in a working copy of asp-events.
const SCHEMA: &str = "schemas/subscriptions.json";

/// The title of the schema, which sets it apart from those of other projects.
const TITLE: &str = "SubscriptionsFile";

/// How to get the schema where there is no working copy.
const WITHOUT_SCHEMA: &str = "# For editors: run aspctl generate schema > \
                              subscriptions.schema.json here, and replace this line by #:schema \
                              subscriptions.schema.json";

/// The first line of a file in this folder: it leads to the schema of the working copy that the
/// folder is in, or else says how to get the schema.
pub(crate) fn schema_line(folder: &Path) -> String {
    match schema_from(folder) {
        Ok(Some(schema)) => format!("#:schema {}", schema.display()),
        Ok(None) | Err(_) => WITHOUT_SCHEMA.to_owned(),
    }
}

/// The path of the schema from a folder. Editors take it as relative to the file.
fn schema_from(folder: &Path) -> io::Result<Option<PathBuf>> {
    let folder = fs::canonicalize(folder)?;
    let mut up = PathBuf::new();
    for above in folder.ancestors() {
        if is_schema(&above.join(SCHEMA)) {
            return Ok(Some(up.join(SCHEMA)));
        }
        up.push("..");
    }
    Ok(None)
}

fn is_schema(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let schema: Value = serde_json::from_str(&text).unwrap_or_default();
    schema.get("title").and_then(Value::as_str) == Some(TITLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_from_the_files_folder_to_the_schema() {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let line = |folder: &str| schema_line(&crate_folder.join(folder));
        assert_eq!(line(".."), "#:schema schemas/subscriptions.json");
        assert_eq!(line("src"), "#:schema ../../schemas/subscriptions.json");
        assert_eq!(line("no such folder"), WITHOUT_SCHEMA);
        assert_eq!(schema_line(Path::new("/")), WITHOUT_SCHEMA);
    }

    #[test]
    fn a_schema_of_another_project_is_none() {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(is_schema(
            &crate_folder.join("../schemas/subscriptions.json")
        ));
        assert!(!is_schema(
            &crate_folder.join("../schemas/aspctl/plan.json")
        ));
        assert!(!is_schema(&crate_folder.join("Cargo.toml")));
    }
}
