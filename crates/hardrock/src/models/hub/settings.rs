//! What the environment says about the hub, by the variables that its own tools read.

use std::path::PathBuf;
use std::time::Duration;

use hf_hub::Cache;

use crate::{Error, Result};

/// Where the hub is and how it is used. Holds the token, so it is never shown.
pub(super) struct Settings {
    /// Without a slash at its end.
    pub(super) endpoint: String,
    /// The cache that all tools of the hub share.
    pub(super) cache: Cache,
    /// Sent to the endpoint alone.
    pub(super) token: Option<String>,
    /// Whether the network is left alone.
    pub(super) offline: bool,
    /// Wait before the second try; it doubles.
    pub(super) first_wait: Duration,
    /// Longest silence of the hub.
    pub(super) silence: Duration,
}

/// Whether a switch is on, as the hub's Python library reads it.
fn is_on(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|on| value.trim().eq_ignore_ascii_case(on))
}

impl Settings {
    /// From the environment, read through `variable`: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and their older names.
    ///
    /// # Errors
    /// [`Error::Usage`] where no folder for the cache is known.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let base = given("XDG_CACHE_HOME").map(PathBuf::from);
        let base = base.or_else(|| {
            given("HOME").or_else(|| given("USERPROFILE")).map(|h| PathBuf::from(h).join(".cache"))
        });
        let home = given("HF_HOME").map(PathBuf::from).or_else(|| base.map(|base| base.join("huggingface")));
        let hub = given("HF_HUB_CACHE").or_else(|| given("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
        let hub = hub.or_else(|| home.as_ref().map(|home| home.join("hub"))).ok_or_else(|| {
            Error::usage("no folder is known for models of the hub", "set HF_HOME to a folder for them")
        })?;
        let file = given("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home.map(|home| home.join("token")));
        let token = given("HF_TOKEN")
            .or_else(|| given("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| file.and_then(|file| std::fs::read_to_string(file).ok()));
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Ok(Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            cache: Cache::new(hub),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
                .iter()
                .filter_map(|v| given(v))
                .any(|v| is_on(&v)),
            first_wait: Duration::from_millis(500),
            silence: Duration::from_secs(30),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn variables_stand_in_the_order_of_the_hubs_own_tools() {
        let plain = read(&[("HOME", "/home/a")]).unwrap();
        assert_eq!(plain.cache.path(), &PathBuf::from("/home/a/.cache/huggingface/hub"));
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        let home = [("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c"), ("HF_HOME", "/h")];
        assert_eq!(read(&home[..2]).unwrap().cache.path(), &PathBuf::from("/c/huggingface/hub"));
        assert_eq!(read(&home).unwrap().cache.path(), &PathBuf::from("/h/hub"));
        let cache =
            read(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/x"), ("HF_ENDPOINT", "http://mirror/ ")]).unwrap();
        assert_eq!((cache.cache.path(), cache.endpoint.as_str()), (&PathBuf::from("/x"), "http://mirror"));
        assert_eq!(read(&[("HF_HUB_CACHE", "")]).err().unwrap().exit_code(), 2);
    }

    #[test]
    fn a_token_comes_from_its_variable_or_its_file_and_offline_has_several_spellings() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token, None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token.as_deref(), Some("hf_file"));
        let both = [("HF_HOME", home), ("HF_TOKEN", "hf_variable")];
        assert_eq!(read(&both).unwrap().token.as_deref(), Some("hf_variable"));
        for (value, offline) in [("1", true), ("ON", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(
                read(&[("HF_HOME", home), ("HF_HUB_OFFLINE", value)]).unwrap().offline,
                offline,
                "{value}"
            );
        }
    }
}
