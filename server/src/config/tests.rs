use std::io::Write;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn load(file: &str, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let mut kept = tempfile::NamedTempFile::new().unwrap();
    kept.write_all(file.as_bytes()).unwrap();
    Config::from_sources(Some(kept.path()), &environment(pairs)).map_err(|bad| bad.to_string())
}

#[test]
fn nothing_set_is_a_server_on_loopback_with_the_embedded_engines() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ops_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.data_dir, Path::new("./fanfare-data"));
    assert!(config.master_key.is_none() && config.workers.is_none() && !config.test_endpoints);
}

#[test]
fn a_variable_overrides_the_file() {
    let config = load(
        "listen = \"127.0.0.1:1\"\nworkers = 3",
        &[("FANFARE_LISTEN", "[::1]:2"), ("FANFARE_TEST_ENDPOINTS", "true")],
    )
    .unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:2");
    assert_eq!(config.worker_threads(), 3);
    assert!(config.test_endpoints);
}

#[test]
fn there_are_as_many_workers_as_can_be() {
    assert_eq!(load("workers = 512", &[]).unwrap().worker_threads(), 512);
    assert_eq!([1, 64, 512, 768].map(workers_for), [1, 64, 512, 512]);
}

#[test]
fn counts_are_refused_with_their_bounds() {
    assert_eq!(load("", &[]).unwrap().database_connections, 16);
    assert_eq!(load("database_connections = 512", &[]).unwrap().database_connections, 512);
    for (line, bound) in [
        ("database_connections = 0", "0 is not one of 1 to 512"),
        ("database_connections = 513", "513 is not one of 1 to 512"),
        ("workers = -1", "-1 is not one of 1 to 512"),
        ("partitions = 70000", "70000 is not one of 1 to 1024"),
    ] {
        let said = load(line, &[]).unwrap_err();
        assert!(said.contains(bound), "{bound} is not in:\n{said}");
    }
}

#[test]
fn everything_unknown_is_refused_at_once_with_the_nearest_known_name() {
    let said = load("listn = \"127.0.0.1:1\"\n[plans.big]\nconections = 5", &[("HOME", "/root")]).unwrap_err();
    for part in ["`listn`", "mean `listen`", "`plans.big.conections`", "mean `plans.big.connections`"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

const DATABASE: (&str, &str) = ("FANFARE_DATABASE_URL", "postgres://user:hunter2@db/x");
const REDIS: (&str, &str) = ("FANFARE_REDIS_URL", "redis://:hunter2@cache");
const AMQP: (&str, &str) = ("FANFARE_AMQP_URL", "amqp://user:hunter2@queue/v");
const KEY: (&str, &str) = ("FANFARE_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");

#[test]
fn the_production_engines_come_together_with_a_master_key() {
    let config = load("partitions = 16", &[DATABASE, REDIS, AMQP, KEY]).unwrap();
    assert!(config.engines.is_some() && config.partitions == Some(16));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(load("", &[("FANFARE_REDIS_URL", "")]).unwrap().engines.is_none(), "an empty URL is none");
}

#[test]
fn half_set_engines_are_refused_with_what_is_missing_and_no_password() {
    for (pairs, missing, set) in [
        (&[DATABASE, KEY][..], &["FANFARE_REDIS_URL", "FANFARE_AMQP_URL"][..], "FANFARE_DATABASE_URL"),
        (&[REDIS, AMQP, KEY], &["FANFARE_DATABASE_URL"], "FANFARE_REDIS_URL and FANFARE_AMQP_URL"),
        (&[DATABASE, AMQP, KEY, ("FANFARE_REDIS_URL", "")], &["FANFARE_REDIS_URL"], "FANFARE_AMQP_URL"),
        (&[DATABASE, REDIS, AMQP], &["FANFARE_MASTER_KEY"], "FANFARE_DATABASE_URL"),
    ] {
        let said = load("", pairs).unwrap_err();
        assert!(!said.contains("hunter2"), "{said}");
        for variable in missing {
            assert!(said.contains(&format!("({variable})")), "{variable} is not in:\n{said}");
        }
        assert!(said.contains(set), "{set} is not in:\n{said}");
    }
}

#[test]
fn the_url_of_another_engine_is_refused_without_showing_it() {
    for (name, value) in [
        ("FANFARE_DATABASE_URL", "mysql://user:hunter2@db"),
        ("FANFARE_REDIS_URL", "http://:hunter2@cache"),
        ("FANFARE_AMQP_URL", "hunter2"),
    ] {
        let pairs: Vec<_> = [DATABASE, REDIS, AMQP, KEY].into_iter().filter(|(other, _)| *other != name).collect();
        let said = load("", &[&pairs[..], &[(name, value)]].concat()).unwrap_err();
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_the_command_line_reads_for_itself_is_known() {
    load("", &[("FANFARE_KEY", "fk_a.fs_b"), ("FANFARE_URL", "http://x"), ("FANFARE_CONFIG", "y")]).unwrap();
}

#[test]
fn a_wrong_value_is_named_and_told_what_is_wanted() {
    for (file, pairs, parts) in [
        ("workers = \"four\"", &[][..], ["`workers`", "whole number"]),
        ("", &[("FANFARE_WORKERS", "four")], ["FANFARE_WORKERS", "it is `four`"]),
        ("workers = 0", &[], ["`workers`", "1 to 512"]),
        ("workers = -1", &[], ["`workers`", "1 to 512"]),
        ("", &[("FANFARE_WORKERS", "513")], ["`workers`", "513 is not one of 1 to 512"]),
        ("partitions = 0", &[], ["`partitions`", "1 to 1024"]),
        ("", &[("FANFARE_PARTITIONS", "70000")], ["`partitions`", "70000 is not one of"]),
        ("listen = \"localhost\"", &[], ["`listen`", "address and port"]),
        ("[api]\nsignup = \"maybe\"", &[], ["`api.signup`", "`closed`"]),
        ("", &[("FANFARE_PREFIX", "{acme}")], ["`prefix`", "`{acme}` is not 1 to 32 letters"]),
        ("", &[("FANFARE_PREFIX", "")], ["FANFARE_PREFIX", "empty"]),
        ("prefix = \"ff\"", &[], ["`prefix`", "`ff` is taken"]),
        ("", &[("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "soon")], ["ping_interval", "duration"]),
        ("log = \"loud\"", &[], ["`log`", "`trace`"]),
        ("plan_default = \"huge\"", &[], ["no plan `huge`", "FANFARE_PLAN_DEFAULT"]),
        ("listen = ", &[], ["line 1", "TOML"]),
        ("", &[("FANFARE_LOG", "")], ["FANFARE_LOG", "empty"]),
    ] {
        let said = load(file, pairs).unwrap_err();
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} are not in:\n{said}");
    }
}

#[test]
fn a_master_key_is_never_shown() {
    for file in ["master_key = \"c0ffee\"", "master_key = \"c0ffee\n", "master_key = [\"c0ffee\"]"] {
        let said = load(file, &[]).unwrap_err();
        assert!(!said.contains("c0ffee"), "{said}");
    }
    let config = load("", &[("FANFARE_MASTER_KEY", &"c0ffee00".repeat(8))]).unwrap();
    assert!(!format!("{config:?}").contains("c0ffee"));
}

#[test]
fn plans_are_added_in_the_file_and_chosen_by_name() {
    let config = load("plan_default = \"big\"\n[plans.big]\nconnections = 7", &[]).unwrap();
    let plans = config.plans().unwrap();
    assert_eq!(plans.limits("big").connections, 7);
    assert_eq!(plans.limits("big").publishes_per_s, Limits::default().publishes_per_s);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let bad = Config::from_sources(Some(Path::new("/nowhere/fanfare.toml")), &[]).unwrap_err();
    assert!(bad.to_string().contains("/nowhere/fanfare.toml"));
}

#[test]
fn the_table_has_every_setting_of_every_section_with_its_default() {
    let mut config = toml::Table::new();
    config.insert("api".into(), toml::Value::try_from(ApiConfig::default()).unwrap());
    config.insert("gateway".into(), toml::Value::try_from(GatewayConfig::default()).unwrap());
    let known = |name: &str| settings::by_name(name).and_then(|setting| setting.default).map(str::to_owned);
    for (name, value) in sources::leaves(config.clone()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(known(&name), Some(value), "{name}");
    }
    let sectioned = settings::SETTINGS.iter().filter(|setting| setting.name.contains('.')).count();
    assert_eq!(sectioned, sources::leaves(config).len());
}

#[test]
fn traces_go_to_a_collector_without_tls_or_a_password_and_a_share_is_a_share() {
    use crate::role::Role;

    assert!(load("", &[("FANFARE_OTLP_ENDPOINT", "")]).unwrap().otlp(Role::All).is_none(), "an empty URL is none");
    let config = load("otlp_sample = 0.25", &[("FANFARE_OTLP_ENDPOINT", "http://127.0.0.1:4318")]).unwrap();
    let otlp = config.otlp(Role::Gateway).unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.sample, otlp.service), ("http://127.0.0.1:4318", 0.25, "fanfare-gateway"));
    assert_eq!(load("otlp_sample = 1", &[]).unwrap().otlp_sample, 1.0);
    for wrong in ["127.0.0.1:4318", "https://collector", "http://user:hunter2@collector", "http://", "grpc://x:4317"] {
        let said = load("", &[("FANFARE_OTLP_ENDPOINT", wrong)]).unwrap_err();
        assert!(said.contains("FANFARE_OTLP_ENDPOINT") && !said.contains("hunter2"), "{wrong}: {said}");
    }
    for wrong in ["1.5", "-0.1", "NaN", "half"] {
        let said = load("", &[("FANFARE_OTLP_SAMPLE", wrong)]).unwrap_err();
        assert!(said.contains("otlp_sample") || said.contains("FANFARE_OTLP_SAMPLE"), "{wrong}: {said}");
    }
}
