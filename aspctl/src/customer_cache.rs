//! Names and ids in the user's cache folder, for ten minutes.
//!
//! A cache that cannot be read or written is none: it never fails a command. Each customer has
//! files of its own, which a hash of the credentials names.

use std::{
    collections::HashMap,
    env, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{alexa::LoginCredentials, names::NameBook, private_file::StagedFile};

/// How long a list counts as current.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);

/// The form of the files. Those of another form are not read.
const VERSION: u32 = 1;

/// How many bytes of a hash a file's name has.
const HASH_BYTES: usize = 16;

/// The permissions of the folder.
const FOLDER_MODE: u32 = 0o700;

/// The cached lists of one customer.
#[derive(Debug, Clone)]
pub(crate) struct CustomerCache {
    folder: PathBuf,
    /// The beginning of the names of the customer's files.
    prefix: String,
}

/// A list as it is cached.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CachedList<T> {
    version: u32,
    read_at: DateTime<Utc>,
    items: Vec<T>,
}

/// The part of an item that names need.
#[derive(Debug, Deserialize)]
struct NamedItem {
    id: String,
    name: Option<String>,
}

impl CustomerCache {
    /// The cache of a customer. `None` if the user has no cache folder.
    pub(crate) fn of(credentials: &LoginCredentials, api_url: &Url) -> Option<Self> {
        let folder = cache_folder(|name| env::var(name).ok())?;
        let customer = [
            credentials.client_id.as_str(),
            credentials.refresh_token.expose_secret(),
            api_url.as_str(),
        ];
        Some(Self {
            folder,
            prefix: hash(&customer),
        })
    }

    /// Reads a list, with its time, unless it is too old.
    pub(crate) fn read<T: DeserializeOwned>(&self, list: &str) -> Option<(Vec<T>, DateTime<Utc>)> {
        let cached: CachedList<T> = read_current(&self.path(list), Utc::now())?;
        Some((cached.items, cached.read_at))
    }

    /// Stores a list that has just been read.
    pub(crate) fn write<T: Serialize>(&self, list: &str, items: &[T]) {
        if let Err(error) = self.store(list, items) {
            tracing::debug!("the list is not cached: {error}");
        }
    }

    fn store<T: Serialize>(&self, list: &str, items: &[T]) -> io::Result<()> {
        let cached = CachedList {
            version: VERSION,
            read_at: Utc::now(),
            items: items.iter().collect(),
        };
        let text = serde_json::to_string(&cached)?;
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(FOLDER_MODE);
        folder.create(&self.folder)?;
        StagedFile::create(&self.path(list))?.save(&text)
    }

    /// The names of everything in the customer's current lists.
    pub(crate) fn names(&self) -> NameBook {
        let mut names = HashMap::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_own = entry
                .file_name()
                .to_string_lossy()
                .starts_with(&self.prefix);
            let path = is_own.then(|| entry.path());
            let list: Option<CachedList<NamedItem>> =
                path.and_then(|path| read_current(&path, Utc::now()));
            for item in list.into_iter().flat_map(|list| list.items) {
                names.extend(item.name.map(|name| (item.id, name)));
            }
        }
        NameBook::new(names)
    }

    fn path(&self, list: &str) -> PathBuf {
        self.folder
            .join(format!("{}-{}.json", self.prefix, hash(&[list])))
    }
}

fn read_current<T: DeserializeOwned>(path: &Path, now: DateTime<Utc>) -> Option<CachedList<T>> {
    let text = fs::read_to_string(path).ok()?;
    let cached: CachedList<T> = serde_json::from_str(&text).ok()?;
    let age = now - cached.read_at;
    let is_current = cached.version == VERSION && age >= TimeDelta::zero() && age < MAX_AGE;
    is_current.then_some(cached)
}

/// The folder for this program. Source: XDG Base Directory Specification.
fn cache_folder(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let cache = absolute("XDG_CACHE_HOME");
    let cache = cache.or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("aspctl"))
}

/// A hash from which the parts cannot be told.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let digits = hasher.finalize();
    let digits = digits.iter().map(|byte| format!("{byte:02x}"));
    digits.take(HASH_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(token: &str) -> LoginCredentials {
        LoginCredentials::new("client", "cache-test-secret", token)
    }

    fn cache(folder: &Path, token: &str) -> CustomerCache {
        let url = Url::parse("https://api.amazonalexa.com").unwrap();
        let cache = CustomerCache::of(&credentials(token), &url).unwrap();
        CustomerCache {
            folder: folder.to_owned(),
            ..cache
        }
    }

    fn temporary_folder() -> PathBuf {
        env::temp_dir().join(format!("aspctl-cache-test-{:016x}", fastrand::u64(..)))
    }

    #[test]
    fn a_list_is_the_customers_own_and_current() {
        let folder = temporary_folder();
        let (own, other) = (cache(&folder, "Atzr|one"), cache(&folder, "Atzr|two"));
        let items = [serde_json::json!({ "id": "u", "name": "Room 105" })];
        own.write("units", &items);
        let (read, _) = own.read::<serde_json::Value>("units").unwrap();
        assert_eq!(read, items);
        assert_eq!(own.names().name("u"), Some("Room 105"));
        assert!(own.read::<serde_json::Value>("others").is_none());
        assert!(other.read::<serde_json::Value>("units").is_none());
        assert_eq!(other.names(), NameBook::default());
        let later = |minutes| Utc::now() + TimeDelta::minutes(minutes);
        let at = |time| read_current::<NamedItem>(&own.path("units"), time).is_some();
        assert_eq!(
            [at(later(9)), at(later(10)), at(later(-1))],
            [true, false, false]
        );
        fs::write(own.path("units"), "{").unwrap();
        assert!(own.read::<serde_json::Value>("units").is_none());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn file_names_tell_nothing() {
        let path = cache(Path::new("/c"), "Atzr|cache-test-token").path("units/amzn1");
        let name = path.to_string_lossy();
        assert!(
            !name.contains("cache-test") && !name.contains("amzn1"),
            "{name}"
        );
    }

    #[test]
    fn the_folder_is_that_of_the_user() {
        let folder = |set: &[(&str, &str)]| {
            cache_folder(|name| {
                let (_, value) = set.iter().find(|(key, _)| *key == name)?;
                Some((*value).to_owned())
            })
        };
        assert_eq!(
            folder(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/x")]),
            Some("/x/aspctl".into())
        );
        assert_eq!(
            folder(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "x")]),
            Some("/home/a/.cache/aspctl".into())
        );
        assert_eq!(folder(&[]), None);
    }
}
