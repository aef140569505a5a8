//! Headless Chromium, driven over the Chrome DevTools Protocol.

use std::{path::Path, process::Stdio, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config, tungstenite::Message, tungstenite::protocol::WebSocketConfig,
};

/// How long a page may take to show what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page. Ended, by its pid, when dropped.
pub struct Page {
    _profile: TempDir,
    _browser: Child,
    socket: WebSocketStream<TcpStream>,
    session: String,
    next_id: u64,
    /// Errors and warnings that the page wrote to its console.
    pub complaints: Vec<String>,
}

impl Page {
    /// Opens an address in a new browser.
    pub async fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let mut browser = launch(profile.path());
        let address = devtools(&mut browser).await;
        let authority = address.trim_start_matches("ws://").split('/').next().expect("an authority").to_owned();
        let tcp = TcpStream::connect(&authority).await.expect("the browser listens");
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = client_async_with_config(address, tcp, Some(config)).await.expect("the browser answers");
        let mut page = Self {
            _profile: profile,
            _browser: browser,
            socket,
            session: String::new(),
            next_id: 1,
            complaints: Vec::new(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"})).await["targetId"].clone();
        let attached = page.call("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        page.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
        )
        .await;
        page.go(url).await;
        page
    }

    /// Goes to another address.
    pub async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    /// Evaluates an expression; a promise is waited for.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, looked at with every frame that the browser paints.
    pub async fn wait_for(&mut self, expression: &str) {
        let script = format!(
            "new Promise((done) => {{ const look = () => {{ let is; try {{ is = ({expression}); }} catch {{ is = false; }} \
             is ? done(true) : setTimeout(look, 20); }}; look(); }})"
        );
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        match tokio::time::timeout(PATIENCE, self.call("Runtime.evaluate", params)).await {
            Ok(answer) if answer["result"]["value"] == true => {}
            outcome => {
                let outcome = outcome.map_err(|_| "timed out");
                let text = self.evaluate("document.body.innerText").await;
                panic!("`{expression}` did not come true: {outcome:?}; the page says:\n{text}\n{:?}", self.complaints);
            }
        }
    }

    /// Writes a picture of the page.
    pub async fn screenshot(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, bytes).expect("the picture can be written");
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let mut call = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).await.expect("the browser takes a call");
        loop {
            let message = self.socket.next().await.expect("the browser goes on").expect("the browser goes on");
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("the browser speaks JSON");
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => event["params"]["exceptionDetails"].to_string(),
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                event["params"]["entry"].to_string()
            }
            _ => return,
        };
        self.complaints.push(complaint);
    }
}

fn launch(profile: &Path) -> Child {
    Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ])
        .args(["--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("chromium is installed by `make test`")
}

/// The address of the browser's debugger, which it prints.
async fn devtools(browser: &mut Child) -> String {
    let mut lines = BufReader::new(browser.stderr.take().expect("its errors are piped")).lines();
    let address = tokio::time::timeout(PATIENCE, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                return address.trim().to_owned();
            }
        }
        panic!("the browser ended before it listened");
    });
    let address = address.await.expect("the browser starts");
    // What it prints later must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    address
}
