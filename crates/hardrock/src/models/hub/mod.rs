//! Models of the Hugging Face hub, in the cache that all its tools share.
//!
//! `hf-hub` knows the cache: its names, its references and its token. The requests are our own, because that crate sends the
//! token on to the servers that files lie on, knows no time limits, cannot be stopped, and takes a whole file for the rest of
//! one where a hub does not continue it.

mod choose;
mod client;
mod download;
mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hf_hub::{Repo, RepoType};

use crate::mine::Progress;
use crate::{Error, Result};
use choose::{Listing, MODULES, Shape, is_inside};
use client::Client;
use download::Wanted;
use settings::Settings;

/// The name of a model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubId {
    /// `ORGANISATION/NAME`.
    repo: String,
    /// A branch, a tag or a commit.
    revision: String,
}

impl HubId {
    /// From `ORGANISATION/NAME` or `ORGANISATION/NAME@REVISION`; none where it cannot be one.
    pub(super) fn parse(spec: &str) -> Option<Self> {
        let (repo, revision) = spec.split_once('@').unwrap_or((spec, "main"));
        let (organisation, name) = repo.split_once('/')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && part.chars().all(plain)
        };
        let is_revision = is_inside(revision) && revision.chars().all(|c| plain(c) || c == '/');
        let ok = is_name(organisation) && is_name(name) && repo.len() <= 96 && is_revision;
        ok.then(|| Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// Whether the revision is a commit, which never changes.
    fn is_commit(&self) -> bool {
        self.revision.len() == 40 && self.revision.bytes().all(|b| b.is_ascii_hexdigit())
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision.to_owned())
    }
}

/// A model in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Holds the model's files.
    pub(super) folder: PathBuf,
    pub(super) commit: String,
}

/// Brings a model into the cache, or finds it there. Nothing is fetched for a commit that is whole, or offline.
///
/// # Errors
/// [`Error::Usage`] for a model that is not there, is gated or is not whole offline, with what to do;
/// [`Error::Server`], [`Error::Io`], [`Error::Interrupted`].
pub(super) fn snapshot(id: &HubId, progress: &dyn Progress, cancel: &AtomicBool) -> Result<Snapshot> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    Hub { settings, id, progress, cancel }.snapshot()
}

/// One model on its way into the cache.
struct Hub<'a> {
    settings: Settings,
    id: &'a HubId,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
}

impl Hub<'_> {
    fn snapshot(&self) -> Result<Snapshot> {
        let repo = &self.id.repo;
        if self.settings.offline {
            return self.cached()?.map_err(|problem| {
                let help = format!(
                    "unset HF_HUB_OFFLINE once, or fetch {repo} on another machine and copy its cache"
                );
                Error::usage(format!("HF_HUB_OFFLINE is set, and {problem}"), help)
            });
        }
        if self.id.is_commit()
            && let Ok(snapshot) = self.cached()?
        {
            return Ok(snapshot);
        }
        let client = Client::new(&self.settings, self.cancel);
        match client.listing(self.id) {
            Ok((commit, listing)) => self.fetch(&client, commit, &listing),
            Err(error @ Error::Server { .. }) => {
                let Ok(snapshot) = self.cached()? else { return Err(error) };
                let commit = &snapshot.commit;
                self.progress.notice(&format!("{error}; the cached commit {commit} of {repo} is used"));
                Ok(snapshot)
            }
            Err(error) => Err(error),
        }
    }

    fn snapshots(&self, commit: &str) -> PathBuf {
        self.settings.cache.repo(self.id.at(commit)).pointer_path(commit)
    }

    /// What the cache has, if it is a whole model; else what is missing.
    fn cached(&self) -> Result<std::result::Result<Snapshot, String>> {
        let HubId { repo, revision } = self.id;
        let cache = self.settings.cache.path();
        let references = cache.join(self.id.at(revision).folder_name()).join("refs");
        let commit = match std::fs::read_to_string(references.join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) if self.snapshots(revision).is_dir() => revision.clone(),
            Err(_) => return Ok(Err(format!("the cache {} has no {repo} at {revision}", cache.display()))),
        };
        let folder = self.snapshots(&commit);
        let mut listing = Listing::new();
        walk(&folder, "", &mut listing).map_err(Error::io("read", &folder))?;
        let mut shape = Shape::default();
        self.learn(&mut shape, &folder, &listing)?;
        let lacks = shape.lacks(&listing);
        Ok(match lacks.is_empty() {
            true => Ok(Snapshot { folder, commit }),
            false => Err(format!("the cache {} lacks {} of {repo}", cache.display(), lacks.join(", "))),
        })
    }

    /// Reads the files in `folder` that say which others belong to the model.
    fn learn(&self, shape: &mut Shape, folder: &Path, listing: &Listing) -> Result<()> {
        let broken = |name: &str, e: serde_json::Error| {
            Error::input(
                &folder.join(name),
                None,
                e.to_string(),
                "delete the file, so that it is fetched again",
            )
        };
        let read =
            |name: &str| std::fs::read(folder.join(name)).map_err(Error::io("read", &folder.join(name)));
        if listing.contains(MODULES) {
            shape.read_modules(&read(MODULES)?).map_err(|e| broken(MODULES, e))?;
        }
        for index in shape.indexes(listing) {
            // Of a listing of the hub's it may not be there yet.
            if folder.join(&index).is_file() {
                shape.read_index(&index, &read(&index)?).map_err(|e| broken(&index, e))?;
            }
        }
        Ok(())
    }

    fn fetch(&self, client: &Client<'_>, commit: String, listing: &Listing) -> Result<Snapshot> {
        let folder = self.snapshots(&commit);
        let mut shape = Shape::default();
        // Two small files say which others are needed.
        let modules: Vec<String> = listing.get(MODULES).cloned().into_iter().collect();
        self.bring(client, &commit, modules)?;
        self.learn(&mut shape, &folder, listing)?;
        self.bring(client, &commit, shape.indexes(listing))?;
        self.learn(&mut shape, &folder, listing)?;
        let lacks = shape.lacks(listing);
        if !lacks.is_empty() {
            let repo = &self.id.repo;
            return Err(Error::usage(
                format!("the model {repo} on the hub has no {}", lacks.join(", no ")),
                format!(
                    "look for a revision that has ({repo}@refs/pr/N often has safetensors), or save the model once with \
                     transformers (save_pretrained) and give that folder"
                ),
            ));
        }
        self.bring(client, &commit, shape.wanted(listing))?;
        if !self.id.is_commit() {
            let reference = self.settings.cache.repo(self.id.at(&self.id.revision));
            reference.create_ref(&commit).map_err(Error::io("write", &folder))?;
        }
        Ok(Snapshot { folder, commit })
    }

    /// Brings these files into the snapshot, where they are not there.
    fn bring(
        &self,
        client: &Client<'_>,
        commit: &str,
        names: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let folder = self.snapshots(commit);
        let missing = names.into_iter().filter(|name| is_inside(name) && !folder.join(name).is_file());
        let mut files = Vec::new();
        for name in missing {
            let url = client.address(self.id, commit, &name);
            let head = client.head(self.id, &url)?;
            files.push((name, Wanted { id: self.id, url, head }));
        }
        if files.is_empty() {
            return Ok(());
        }
        let bytes = files.iter().map(|(_, wanted)| wanted.head.size).sum();
        self.progress.stage(&format!("fetch {}", self.id.repo), bytes, "bytes");
        let blobs = self.settings.cache.path().join(self.id.at(commit).folder_name()).join("blobs");
        for (name, wanted) in &files {
            let blob = download::fetch(client, wanted, &blobs, self.progress, self.cancel)?;
            point(&folder.join(name), &blob, name).map_err(Error::io("create", &folder.join(name)))?;
        }
        Ok(())
    }
}

/// The names of the files below a folder that is or is not there.
fn walk(folder: &Path, before: &str, out: &mut Listing) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        // A link whose file is gone is neither.
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), out)?;
        } else if entry.path().is_file() {
            out.insert(name);
        }
    }
    Ok(())
}

/// Gives the file of a snapshot its name: a relative link as the hub's tools make, or the same file where there are none.
fn point(name: &Path, blob: &Path, relative: &str) -> std::io::Result<()> {
    if let Some(folder) = name.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A dangling link is in the way.
    if name.symlink_metadata().is_ok() {
        std::fs::remove_file(name)?;
    }
    #[cfg(unix)]
    {
        let up = "../".repeat(relative.matches('/').count() + 2);
        let target = format!("{up}blobs/{}", blob.file_name().unwrap_or_default().to_string_lossy());
        std::os::unix::fs::symlink(target, name)
    }
    #[cfg(not(unix))]
    {
        let _ = relative;
        std::fs::hard_link(blob, name).or_else(|_| std::fs::copy(blob, name).map(|_| ()))
    }
}
