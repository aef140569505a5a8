//! The production engines: all three of them, or none.

use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;

/// Where the production engines are.
#[derive(Debug, Clone)]
pub struct Engines {
    /// Postgres.
    pub database_url: SecretString,
    /// Redis.
    pub redis_url: SecretString,
    /// RabbitMQ.
    pub amqp_url: SecretString,
}

/// What an engine is set by: name, variable, what its URL begins with, an example.
struct Engine {
    name: &'static str,
    variable: &'static str,
    schemes: &'static [&'static str],
    example: &'static str,
}

const ENGINES: [Engine; 3] = [
    Engine {
        name: "database_url",
        variable: "FANFARE_DATABASE_URL",
        schemes: &["postgres", "postgresql"],
        example: "postgres://user:password@host/fanfare",
    },
    Engine {
        name: "redis_url",
        variable: "FANFARE_REDIS_URL",
        schemes: &["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"],
        example: "redis://host:6379",
    },
    Engine {
        name: "amqp_url",
        variable: "FANFARE_AMQP_URL",
        schemes: &["amqp", "amqps"],
        example: "amqp://user:password@host:5672/vhost",
    },
];

impl Engines {
    /// The engines that the URLs choose, in the order of the fields above; an empty URL is none.
    ///
    /// # Errors
    /// Some are set and some are not, one is not of its engine, or the master key is missing.
    pub(super) fn choose(urls: [Option<&SecretString>; 3], has_key: bool) -> Result<Option<Self>, Vec<Problem>> {
        let urls = urls.map(|url| url.filter(|url| !url.expose_secret().trim().is_empty()));
        let pick = |wanted: bool| {
            let engines = ENGINES.iter().zip(&urls);
            engines.filter(move |(_, url)| url.is_some() == wanted).map(|(engine, _)| engine).collect::<Vec<_>>()
        };
        let (set, unset) = (pick(true), pick(false));
        if set.is_empty() {
            return Ok(None);
        }
        let mut problems: Vec<_> = ENGINES.iter().zip(&urls).filter_map(|(engine, url)| engine.wrong(*url)).collect();
        if !unset.is_empty() {
            problems.push(half_set(&set, &unset));
        }
        if !has_key {
            problems.push(no_key(&set));
        }
        match urls {
            [Some(database), Some(redis), Some(amqp)] if problems.is_empty() => {
                Ok(Some(Self { database_url: database.clone(), redis_url: redis.clone(), amqp_url: amqp.clone() }))
            }
            _ => Err(problems),
        }
    }
}

impl Engine {
    fn wrong(&self, url: Option<&SecretString>) -> Option<Problem> {
        let url = url?.expose_secret().trim();
        let is_ours = match url.split_once("://") {
            Some((scheme, rest)) => self.schemes.contains(&scheme) && !rest.is_empty(),
            // Postgres also takes `host=… dbname=…`.
            None => self.name == "database_url" && url.contains('='),
        };
        (!is_ours).then(|| {
            Problem::new(
                format!("`{}` ({}) is not a URL of its engine", self.name, self.variable),
                format!("Write it as in `{}`.", self.example),
            )
        })
    }
}

fn half_set(set: &[&Engine], unset: &[&Engine]) -> Problem {
    let verb = if set.len() == 1 { "is" } else { "are" };
    let missing: Vec<_> = unset.iter().map(|engine| format!("`{}` ({})", engine.name, engine.variable)).collect();
    let also = if unset.len() == 1 { "is not" } else { "are not" };
    Problem::new(
        format!("{} {verb} set, but {} {also}", variables(set), missing.join(" and ")),
        "Set all three to use the production engines, or none to use those inside the process: with some, messages would be kept where nobody looks for them.",
    )
}

fn no_key(set: &[&Engine]) -> Problem {
    let verb = if set.len() == 1 { "is" } else { "are" };
    Problem::new(
        format!("{} {verb} set, but `master_key` (FANFARE_MASTER_KEY) is not", variables(set)),
        "Make one with `openssl rand -hex 32`, give the same one to every process, and keep it safe: what it encrypts cannot be read without it.",
    )
}

fn variables(engines: &[&Engine]) -> String {
    engines.iter().map(|engine| engine.variable).collect::<Vec<_>>().join(" and ")
}
