//! `fanfare check`: looks at everything that a server needs, changes nothing, and says what to mend.

use std::path::Path;

use fanfare_domain::{Clock, clock::SystemClock};

use crate::{config::Config, output, problem::Problem};

mod embedded;
mod machine;
mod production;

/// One line: what was looked at, and what was found.
type Finding = (&'static str, Result<String, Problem>);

/// Prints a line for each check.
///
/// # Errors
/// How many found a problem.
pub async fn run(file: Option<&Path>) -> Result<(), Problem> {
    let mut findings = Vec::new();
    match Config::load(file) {
        Ok(config) => {
            findings.push(("configuration", Ok("every setting has a value that can be used".to_owned())));
            findings.extend(config.passed_over.iter().map(|variable| ("variables", Err(variable.clone()))));
            findings.extend(match &config.engines {
                Some(engines) => production::look(&config, engines).await,
                None => embedded::look(&config).await,
            });
            findings.push(("listen", machine::port(config.listen, "listen", "FANFARE_LISTEN")));
            findings.push(("ops_listen", machine::port(config.ops_listen, "ops_listen", "FANFARE_OPS_LISTEN")));
            if let Some(address) = config.redirect_listen {
                findings
                    .push(("redirect_listen", machine::port(address, "redirect_listen", "FANFARE_REDIRECT_LISTEN")));
            }
            findings.extend(config.tls().map(|files| ("tls", machine::certificate(&files))));
            findings.push(("clock", machine::clock(&config.data_dir, SystemClock.now())));
        }
        Err(bad) => findings.extend(bad.0.into_iter().map(|problem| ("configuration", Err(problem)))),
    }
    findings.push(("open files", machine::open_files()));
    for (name, finding) in &findings {
        let line = match finding {
            Ok(found) => format!("ok       {name}: {found}\n"),
            Err(problem) => format!("problem  {name}: {} → {}\n", problem.what, problem.remedy),
        };
        output::print(&line)?;
    }
    match findings.iter().filter(|(_, finding)| finding.is_err()).count() {
        0 => Ok(()),
        1 => Err(Problem::new("1 problem was found", "Mend it as its line says, and check again.")),
        count => {
            Err(Problem::new(format!("{count} problems were found"), "Mend them as their lines say, and check again."))
        }
    }
}
