//! Where settings come from: the file, and above it the environment; what is in neither table is refused.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use fanfare_domain::plans::Limits;
use toml::{Table, Value};

use super::settings::{self, CLIENT_VARIABLES, Kind, SETTINGS, Setting};
use crate::problem::Problem;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "fanfare.toml";

/// Reads every source into one table, which holds nothing but known settings of the right kind.
///
/// # Errors
/// All that is wrong in the sources, so that it can be mended at once.
pub(super) fn read(named: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<Table, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut table = defaults();
    match read_file(named) {
        Ok(file) => merge_file(file, &mut table, &mut problems),
        Err(problem) => problems.push(problem),
    }
    merge_environment(environment, &mut table, &mut problems);
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

fn defaults() -> Table {
    let mut table = Table::new();
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            let value = parse(setting.kind, default).expect("defaults are of their kind");
            place(&mut table, setting.name, value);
        }
    }
    table
}

fn read_file(named: Option<&Path>) -> Result<Table, Problem> {
    let path = named.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_path_buf);
    if named.is_none() && !path.exists() {
        return Ok(Table::new());
    }
    let shown = path.display();
    let text = fs::read_to_string(&path).map_err(|error| {
        Problem::new(
            format!("{shown} cannot be read: {error}"),
            "Name another file with --config or FANFARE_CONFIG, or make this one readable.",
        )
    })?;
    text.parse::<Table>().map_err(|error| {
        // The library's own text quotes the line, which may hold a secret.
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Problem::new(
            format!("{shown} is not TOML, at line {line}: {}", error.message()),
            "Mend that line; docs/configuration.md has an example.",
        )
    })
}

fn merge_file(file: Table, table: &mut Table, problems: &mut Vec<Problem>) {
    for (name, value) in leaves(file) {
        match settings::by_name(&name) {
            Some(setting) if is_kind(setting.kind, &value) => place(table, &name, value),
            Some(setting) => problems.push(wrong_kind(&format!("`{name}`"), setting, None)),
            None if is_plan_limit(&name) => place(table, &name, value),
            None => problems.push(unknown_key(&name)),
        }
    }
}

fn merge_environment(environment: &[(OsString, OsString)], table: &mut Table, problems: &mut Vec<Problem>) {
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("FANFARE_")) else { continue };
        if CLIENT_VARIABLES.contains(&name) {
            continue;
        }
        let Some(setting) = settings::by_variable(name) else { continue };
        match value.to_str() {
            Some("") if setting.kind == Kind::Url => {}
            Some("") => problems.push(Problem::new(
                format!("{name} is set, but empty"),
                "Give it a value, or unset it to use the file's or the default.",
            )),
            Some(text) => match parse(setting.kind, text) {
                Some(value) => place(table, setting.name, value),
                None => problems.push(wrong_kind(name, setting, Some(text))),
            },
            None => problems.push(Problem::new(format!("{name} is not UTF-8"), "Set it to a text in UTF-8.")),
        }
    }
}

/// Every value of a file by its dotted name; an empty section has none.
pub(super) fn leaves(table: Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(rest, value)| (format!("{name}.{rest}"), value)))
            }
            value => _ = found.insert(name, value),
        }
    }
    found
}

fn place(table: &mut Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => _ = table.insert(name.to_owned(), value),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

fn parse(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text | Kind::Duration | Kind::Secret | Kind::Url => Some(Value::String(text.to_owned())),
        Kind::Number => text.trim().parse().ok().map(Value::Integer),
        Kind::Share => text.trim().parse().ok().map(Value::Float),
        Kind::Flag => text.trim().parse().ok().map(Value::Boolean),
    }
}

fn is_kind(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Text | Kind::Duration | Kind::Secret | Kind::Url => value.is_str(),
        Kind::Number => value.is_integer(),
        Kind::Share => value.is_float() || value.is_integer(),
        Kind::Flag => value.is_bool(),
    }
}

fn wrong_kind(shown: &str, setting: &Setting, found: Option<&str>) -> Problem {
    let found = found.map(|found| format!("; it is `{found}`")).unwrap_or_default();
    Problem::new(format!("{shown} takes {}{found}", setting.kind.wanted()), setting.doc)
}

/// The names of a plan's limits, as they stand in `[plans.NAME]`.
pub(super) fn plan_limits() -> Vec<String> {
    let limits = Table::try_from(Limits::default()).expect("limits are numbers with names");
    limits.keys().cloned().collect()
}

fn is_plan_limit(name: &str) -> bool {
    match name.strip_prefix("plans.").and_then(|rest| rest.rsplit_once('.')) {
        Some((plan, limit)) => {
            !plan.is_empty() && !plan.contains('.') && plan_limits().iter().any(|known| known == limit)
        }
        None => false,
    }
}

fn unknown_key(name: &str) -> Problem {
    let mut known: Vec<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    if let Some((plan, _)) = name.strip_prefix("plans.").and_then(|rest| rest.rsplit_once('.')) {
        known.extend(plan_limits().iter().map(|limit| format!("plans.{plan}.{limit}")));
    }
    Problem::new(format!("there is no setting `{name}`"), suggest(name, &known))
}

/// The variables of ours by their name that this version does not know. They are passed over, since an environment is shared
/// with other programs and other versions; the file is ours alone.
pub(super) fn unknown_variables(environment: &[(OsString, OsString)]) -> Vec<Problem> {
    let names = environment.iter().filter_map(|(name, _)| name.to_str());
    let ours = names.filter(|name| name.starts_with("FANFARE_") && !CLIENT_VARIABLES.contains(name));
    ours.filter(|name| settings::by_variable(name).is_none()).map(unknown_variable).collect()
}

fn unknown_variable(name: &str) -> Problem {
    let known: Vec<String> = SETTINGS
        .iter()
        .map(|setting| setting.variable)
        .chain(CLIENT_VARIABLES.iter().copied())
        .map(str::to_owned)
        .collect();
    Problem::new(format!("this version has no variable {name}, and passes it over"), suggest(name, &known))
}

fn suggest(name: &str, known: &[String]) -> String {
    let nearest =
        known.iter().max_by(|one, other| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, other)));
    let nearest = nearest.map(String::as_str).unwrap_or_default();
    format!("Did you mean `{nearest}`? docs/configuration.md lists them all; remove what you do not need.")
}
