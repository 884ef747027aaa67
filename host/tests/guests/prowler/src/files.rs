//! The file interface as it is, without what a language's library would refuse or put right before the host is asked.

use std::time::{Duration, Instant};

use stellaclaw_sdk::serde_json::{Value, json};
use stellaclaw_sdk::{Call, Error, Output, Result, Tool, schemars, serde};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
const AS_IT_IS: PathFlags = PathFlags::empty();
const READ: DescriptorFlags = DescriptorFlags::READ;
const WRITE: DescriptorFlags = DescriptorFlags::WRITE;

/// Tries one thing after the other, and tells how each ended.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub struct Prowl {
    steps: Vec<Step>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
struct Step {
    act: String,
    path: String,
    /// The preopened directory.
    #[serde(default = "workspace")]
    at: String,
    /// A directory below it that is opened first: the path starts there.
    #[serde(default)]
    via: Option<String>,
    /// The other path of a rename or a link, or a link's text.
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    to_at: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    number: Option<u64>,
}

fn workspace() -> String {
    ".".to_owned()
}

impl Tool for Prowl {
    fn call(self, _call: &Call) -> Result<Output> {
        let roots = get_directories();
        let told: Vec<Value> = self
            .steps
            .iter()
            .map(|step| match step.take(&roots) {
                Ok(Value::Null) => "ok".into(),
                Ok(found) => found,
                Err(code) => format!("no: {}", code.name()).into(),
            })
            .collect();
        Ok(Output::text(Value::Array(told).to_string()))
    }
}

impl Step {
    fn take(&self, roots: &[(Descriptor, String)]) -> Result<Value, ErrorCode> {
        let root = |name: &str| roots.iter().find(|(_, root)| root == name).map(|(root, _)| root).ok_or(ErrorCode::BadDescriptor);
        let at = root(&self.at)?;
        let via = self.via.as_ref().map(|via| at.open_at(FOLLOW, via, OpenFlags::DIRECTORY, READ)).transpose()?;
        let from = via.as_ref().unwrap_or(at);
        let to_root = root(self.to_at.as_deref().unwrap_or(&self.at))?;
        let (path, to) = (self.path.as_str(), self.to.as_deref().unwrap_or("new-name"));
        let (text, number) = (self.text.as_deref().unwrap_or("guest"), self.number.unwrap_or(0));
        let open = |open, flags| from.open_at(FOLLOW, path, open, flags);
        let now = NewTimestamp::Now;
        match self.act.as_str() {
            "read" => return contents(&open(OpenFlags::empty(), READ)?),
            "read-as-it-is" => return contents(&from.open_at(AS_IT_IS, path, OpenFlags::empty(), READ)?),
            "list" => return list(&open(OpenFlags::DIRECTORY, READ)?),
            "create" => drop(open(OpenFlags::CREATE, WRITE)?),
            "exclusive" => drop(open(OpenFlags::CREATE | OpenFlags::EXCLUSIVE, READ)?),
            "write" => drop(open(OpenFlags::CREATE | OpenFlags::TRUNCATE, WRITE)?.write(text.as_bytes(), 0)?),
            "open-write" => drop(open(OpenFlags::empty(), READ | WRITE)?.write(text.as_bytes(), number)?),
            "truncate" => drop(open(OpenFlags::TRUNCATE, READ)?),
            // With the rights of a reader.
            "write-read" => drop(open(OpenFlags::empty(), READ)?.write(text.as_bytes(), 0)?),
            "stream-read" => drop(open(OpenFlags::empty(), READ)?.write_via_stream(0)?),
            "append-read" => drop(open(OpenFlags::empty(), READ)?.append_via_stream()?),
            "size-read" => open(OpenFlags::empty(), READ)?.set_size(number)?,
            "times-read" => open(OpenFlags::empty(), READ)?.set_times(now, now)?,
            "times-dir" => open(OpenFlags::DIRECTORY, READ)?.set_times(now, now)?,
            // With the right to change the directory, if asking for it is all it takes.
            "mutate-dir" => open(OpenFlags::DIRECTORY, READ | DescriptorFlags::MUTATE_DIRECTORY)?.create_directory_at("made")?,
            "set-size" => open(OpenFlags::CREATE, WRITE)?.set_size(number)?,
            "set-times" => from.set_times_at(FOLLOW, path, now, now)?,
            "set-times-as-it-is" => from.set_times_at(AS_IT_IS, path, now, now)?,
            "mkdir" => from.create_directory_at(path)?,
            "rmdir" => from.remove_directory_at(path)?,
            "unlink" => from.unlink_file_at(path)?,
            "rename" => from.rename_at(path, to_root, to)?,
            "link" => from.link_at(AS_IT_IS, path, to_root, to)?,
            "link-follow" => from.link_at(FOLLOW, path, to_root, to)?,
            "symlink" => from.symlink_at(to, path)?,
            "stat" => return Ok(from.stat_at(FOLLOW, path)?.size.into()),
            "stat-as-it-is" => drop(from.stat_at(AS_IT_IS, path)?),
            "hash" => drop(from.metadata_hash_at(FOLLOW, path)?),
            "readlink" => return Ok(from.readlink_at(path)?.into()),
            // As many as it can, each in the directory `path`.
            "fill" => return fill(from, path, number),
            _ => return Err(ErrorCode::Unsupported),
        }
        Ok(Value::Null)
    }
}

fn contents(file: &Descriptor) -> Result<Value, ErrorCode> {
    let (bytes, _) = file.read(4096, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

/// The names of a directory, and how many could not be said.
fn list(directory: &Descriptor) -> Result<Value, ErrorCode> {
    let (mut names, mut unsayable) = (Vec::new(), 0);
    let entries = directory.read_directory()?;
    loop {
        match entries.read_directory_entry() {
            Ok(Some(entry)) => names.push(entry.name),
            Ok(None) => break,
            Err(ErrorCode::IllegalByteSequence) => unsayable += 1,
            Err(code) => return Err(code),
        }
    }
    names.sort();
    Ok(if names.len() > 100 {
        json!({"names": names.len(), "unsayable": unsayable})
    } else {
        json!({"names": names, "unsayable": unsayable})
    })
}

/// How many entries could be created, and what then stopped it.
fn fill(from: &Descriptor, path: &str, most: u64) -> Result<Value, ErrorCode> {
    for made in 0..most {
        let name = format!("{path}/{made}");
        let created = match made % 3 {
            0 => from.open_at(AS_IT_IS, &name, OpenFlags::CREATE | OpenFlags::EXCLUSIVE, WRITE).map(drop),
            1 => from.create_directory_at(&name),
            _ => from.symlink_at("nowhere", &name),
        };
        if let Err(code) = created {
            return Ok(json!([made, code.name()]));
        }
    }
    Ok(json!([most, "enough"]))
}

/// Reads and changes what is behind a directory, again and again, and tells what it saw of a canary.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "stellaclaw_sdk::serde", deny_unknown_fields)]
pub struct Race {
    /// The directory that somebody swaps.
    way: String,
    /// What must never be seen.
    canary: String,
    millis: u64,
}

#[derive(Default)]
struct Tally {
    fine: u64,
    refused: u64,
    leaks: Vec<String>,
}

impl Tool for Race {
    fn call(self, _call: &Call) -> Result<Output> {
        let roots = get_directories();
        let (root, _) = roots.iter().find(|(_, name)| name == ".").ok_or_else(|| Error::not_found("no workspace"))?;
        let end = Instant::now() + Duration::from_millis(self.millis);
        let mut tally = Tally::default();
        let mut rounds = 0_u64;
        while Instant::now() < end {
            self.look(root, &mut tally);
            self.change(root, &mut tally);
            rounds += 1;
        }
        tally.leaks.truncate(10);
        let told = json!({"rounds": rounds, "fine": tally.fine, "refused": tally.refused, "leaks": tally.leaks});
        Ok(Output::text(told.to_string()))
    }
}

impl Race {
    fn look(&self, root: &Descriptor, tally: &mut Tally) {
        let file = format!("{}/file", self.way);
        let seen = [
            root.open_at(FOLLOW, &file, OpenFlags::empty(), READ).and_then(|file| contents(&file)),
            root.open_at(FOLLOW, &self.way, OpenFlags::DIRECTORY, READ).and_then(|directory| list(&directory)),
            root.open_at(FOLLOW, &self.way, OpenFlags::DIRECTORY, READ)
                .and_then(|directory| directory.open_at(FOLLOW, "file", OpenFlags::empty(), READ))
                .and_then(|file| contents(&file)),
        ];
        for seen in seen {
            match seen {
                Ok(seen) if seen.to_string().contains(&self.canary) => tally.leaks.push(seen.to_string()),
                Ok(_) => tally.fine += 1,
                Err(_) => tally.refused += 1,
            }
        }
    }

    /// Everything that leaves a trace where it happens.
    fn change(&self, root: &Descriptor, tally: &mut Tally) {
        let below = |name: &str| format!("{}/{name}", self.way);
        let now = NewTimestamp::Now;
        let done = [
            root.open_at(FOLLOW, &below("made"), OpenFlags::CREATE | OpenFlags::TRUNCATE, WRITE)
                .and_then(|file| file.write(b"guest", 0).map(drop)),
            root.open_at(FOLLOW, &below("victim"), OpenFlags::TRUNCATE, WRITE).map(drop),
            root.create_directory_at(&below("directory")),
            root.symlink_at("file", &below("symlink")),
            root.link_at(AS_IT_IS, "own", root, &below("linked")),
            root.rename_at("spare", root, &below("moved")),
            root.set_times_at(FOLLOW, &below("victim"), now, now),
            root.set_times_at(AS_IT_IS, &below("victim"), now, now),
            root.rename_at(&below("moved"), root, "spare"),
            root.unlink_file_at(&below("linked")),
            root.unlink_file_at(&below("symlink")),
            root.remove_directory_at(&below("directory")),
            root.unlink_file_at(&below("made")),
        ];
        for done in done {
            if done.is_ok() { tally.fine += 1 } else { tally.refused += 1 }
        }
        // What was moved may have come to lie at the other end of the swap.
        drop(root.open_at(AS_IT_IS, "spare", OpenFlags::CREATE, WRITE));
    }
}
