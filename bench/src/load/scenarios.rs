//! Scenarios: files in TOML that say what load there is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::stamps::STAMP_BYTES;
use crate::clients::Problem;

/// What load there is. What a file does not name has its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name, without its end.
    #[serde(skip)]
    pub name: String,
    /// What it measures, in a sentence.
    pub about: String,
    /// Sockets that subscribe.
    pub connections: usize,
    /// Sockets that are on their way in at a time.
    #[serde(default = "connect_concurrency")]
    pub connect_concurrency: usize,
    /// Channels that there are; connections follow them in turn.
    #[serde(default = "one")]
    pub channels: usize,
    /// Channels that each connection follows. It takes the first as it connects, and the others once all are connected and were measured.
    #[serde(default = "one")]
    pub channels_per_connection: usize,
    /// Bytes of each message's text.
    #[serde(default = "message_bytes")]
    pub message_bytes: usize,
    /// How fast messages are published.
    pub rate: Rate,
    /// Messages that are on their way to subscribers at most, where the rate is `max`.
    #[serde(default = "in_flight")]
    pub in_flight: usize,
    /// Threads that publish, each with a connection of its own.
    #[serde(default = "one")]
    pub publishers: usize,
    /// Publishes that wait for their answer at a time on one connection.
    #[serde(default = "one")]
    pub pipelining: usize,
    /// Seconds between the last connection and the look at what they cost.
    #[serde(default = "settle_seconds")]
    pub settle_seconds: f64,
    /// Seconds of publishing before what is measured.
    #[serde(default)]
    pub warm_up_seconds: f64,
    /// Seconds that are measured.
    pub seconds: f64,
    /// Whether messages are kept and take a serial.
    #[serde(default)]
    pub durable: bool,
    /// What subscribers speak to Fanfare, one measurement each.
    #[serde(default = "native")]
    pub clients: Vec<Protocol>,
}

/// How fast messages are published, over all channels.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "RateText")]
pub enum Rate {
    /// Messages a second, evenly; 0 is none at all.
    PerSecond(f64),
    /// As fast as they are accepted and delivered.
    Max,
}

/// What subscribers speak to Fanfare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Native,
    Pusher,
    Sse,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RateText {
    Number(f64),
    Word(String),
}

impl TryFrom<RateText> for Rate {
    type Error = String;

    fn try_from(text: RateText) -> Result<Self, String> {
        match text {
            RateText::Number(rate) if rate >= 0.0 && rate.is_finite() => Ok(Self::PerSecond(rate)),
            RateText::Word(word) if word == "max" => Ok(Self::Max),
            _ => Err("a rate is a number of messages a second, or \"max\"".to_owned()),
        }
    }
}

fn one() -> usize {
    1
}

fn connect_concurrency() -> usize {
    100
}

fn message_bytes() -> usize {
    128
}

fn in_flight() -> usize {
    256
}

fn settle_seconds() -> f64 {
    1.0
}

fn native() -> Vec<Protocol> {
    vec![Protocol::Native]
}

impl Scenario {
    /// Reads a scenario by its name in `bench/scenarios`, or by the path of its file; lines like `seconds=5` go before what the file says.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn find(name: &str, set: &[String]) -> Result<Self, Problem> {
        let path = if name.ends_with(".toml") { PathBuf::from(name) } else { folder().join(format!("{name}.toml")) };
        Self::read(&path, set)
    }

    fn read(path: &Path, set: &[String]) -> Result<Self, Problem> {
        let wrong = |problem: String| format!("{}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let mut lines: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        for line in set {
            let line: toml::Table = line.parse().map_err(|error| format!("`{line}`: {error}"))?;
            lines.extend(line);
        }
        let mut scenario: Self = lines.try_into().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        scenario.check().map_err(wrong)?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), Problem> {
        let problem = if self.message_bytes < STAMP_BYTES {
            "a message has no room for what is measured by it: `message_bytes` is too small"
        } else if self.channels == 0 || self.channels_per_connection == 0 || self.channels >= 1 << 24 {
            "there must be channels, less than 2^24 of them"
        } else if self.channels_per_connection > self.channels {
            "`channels_per_connection` is more than there are"
        } else if self.connect_concurrency == 0 || self.pipelining == 0 || self.in_flight == 0 {
            "what bounds something must not be 0"
        } else if self.publishers == 0 || self.publishers > 256 {
            "there are 1 to 256 `publishers`"
        } else if self.clients.is_empty() {
            "somebody must speak: `clients` is empty"
        } else {
            return Ok(());
        };
        Err(problem.to_owned())
    }

    /// The channels that a connection follows, by their numbers.
    pub fn followed(&self, connection: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, channels) = (connection * self.channels_per_connection, self.channels);
        (first..first + self.channels_per_connection).map(move |channel| channel % channels)
    }

    /// Whether anything is published.
    pub fn publishes(&self) -> bool {
        self.rate != Rate::PerSecond(0.0)
    }
}

/// A channel's name, good in every protocol.
pub fn channel_name(number: usize) -> String {
    format!("bench-{number}")
}

/// Where the scenarios are: beside the sources, since this program is run from a clone.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_scenario() {
        let files = fs::read_dir(folder()).expect("the folder is there");
        let mut names = Vec::new();
        for file in files {
            let scenario =
                Scenario::read(&file.expect("a file").path(), &[]).unwrap_or_else(|problem| panic!("{problem}"));
            names.push(scenario.name);
        }
        for name in ["idle", "paced", "flat-out"] {
            assert!(names.iter().any(|found| found == name), "{name} is not there");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of =
            |text: &str| toml::from_str::<Scenario>(&format!("about = \"\"\nconnections = 2\nseconds = 1\n{text}"));
        assert!(of("rate = \"max\"").is_ok_and(|scenario| scenario.rate == Rate::Max && scenario.check().is_ok()));
        assert!(of("rate = \"most\"").is_err());
        assert!(of("rate = -1").is_err());
        assert!(of("rate = 1\nspeed = 2").is_err());
        assert!(of("rate = 1\nmessage_bytes = 10").is_ok_and(|scenario| scenario.check().is_err()));
        assert!(of("rate = 1\nchannels_per_connection = 2").is_ok_and(|scenario| scenario.check().is_err()));
    }

    #[test]
    fn what_is_set_goes_before_the_file() {
        let set = ["connections=7".to_owned(), "rate=\"max\"".to_owned()];
        let scenario = Scenario::find("paced", &set).expect("a scenario");
        assert_eq!((scenario.connections, scenario.rate), (7, Rate::Max));
        assert!(Scenario::find("paced", &["speed=1".to_owned()]).is_err());
    }

    #[test]
    fn connections_follow_channels_in_turn() {
        let text = "about = \"\"\nconnections = 3\nseconds = 1\nrate = 1\nchannels = 4\nchannels_per_connection = 2";
        let scenario: Scenario = toml::from_str(text).expect("a scenario");
        let followed: Vec<Vec<_>> = (0..3).map(|connection| scenario.followed(connection).collect()).collect();
        assert_eq!(followed, [[0, 1], [2, 3], [0, 1]]);
    }
}
