//! Other servers, started privately on this machine: as their documentation has them for one node, with limits so wide that no scenario meets them.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use super::{
    dialects::Dialect,
    measurements::Target,
    processes::Role,
    programs::{Program, free_port},
    requests::Publishing,
    tokens::Key,
};
use crate::clients::Problem;

/// The app that Sockudo is configured with.
const APP: [&str; 3] = ["104321", "bench-key", "bench-secret"];

/// Nginx with Nchan, with a worker for each core.
///
/// # Errors
/// It is not installed, or does not start.
pub fn nchan(folder: &Path) -> Result<(Program, Target), Problem> {
    let port = free_port()?;
    let folder_text = folder.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
user root;
worker_processes auto;
worker_rlimit_nofile 20000;
pid {folder_text}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder_text}/body;
  proxy_temp_path {folder_text}/proxy;
  fastcgi_temp_path {folder_text}/fastcgi;
  uwsgi_temp_path {folder_text}/uwsgi;
  scgi_temp_path {folder_text}/scgi;
  nchan_max_reserved_memory 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/sub/(.+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest; }}
    location ~ ^/pub/(.+)$ {{ nchan_publisher http; nchan_channel_id $1; nchan_message_buffer_length 1000; }}
  }}
}}
"
    );
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(written(folder, "nginx.conf", &config)?);
    let (dialect, publishing) = (Dialect::Plain, Publishing::Plain);
    started("nchan", &mut command, folder, port, dialect, publishing)
}

/// Sockudo on one node, with metrics and limits, as Fanfare has them.
///
/// # Errors
/// It is not there, or does not start.
pub fn sockudo(program: &Path, folder: &Path) -> Result<(Program, Target), Problem> {
    let (port, metrics_port, [id, key, secret]) = (free_port()?, free_port()?, APP);
    let config = format!(
        "host = \"127.0.0.1\"
port = {port}
debug = false

[app_manager]
driver = \"memory\"

[app_manager.array]
[[app_manager.array.apps]]
id = \"{id}\"
key = \"{key}\"
secret = \"{secret}\"
enabled = true
enable_client_messages = false
max_connections = 1000000
max_client_events_per_second = 1000000

[adapter]
driver = \"local\"

[cache]
driver = \"memory\"

[queue]
driver = \"memory\"

[rate_limiter]
enabled = true
driver = \"memory\"

[rate_limiter.api_rate_limit]
max_requests = 1000000000
window_seconds = 60

[rate_limiter.websocket_rate_limit]
max_requests = 1000000000
window_seconds = 60

[metrics]
enabled = true
host = \"127.0.0.1\"
port = {metrics_port}
"
    );
    // It is started in another folder.
    let program = std::path::absolute(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(written(folder, "sockudo.toml", &config)?).current_dir(folder).env("RUST_LOG", "warn");
    let app_key = Key { id: key.to_owned(), secret: secret.to_owned() };
    let publishing = Publishing::Pusher { app: id.to_owned(), key: app_key };
    started("sockudo", &mut command, folder, port, Dialect::Pusher(key.to_owned()), publishing)
}

fn written(folder: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, Problem> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn started(
    name: &str,
    command: &mut Command,
    folder: &Path,
    port: u16,
    dialect: Dialect,
    publishing: Publishing,
) -> Result<(Program, Target), Problem> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut program = Program::start(name, command, folder)?;
    program.until_listening(address)?;
    let roles = vec![Role { name: name.to_owned(), pid: program.pid() }];
    let target =
        Target { name: name.to_owned(), dialect, publishing, subscribe: vec![address], publish: address, roles };
    Ok((program, target))
}
