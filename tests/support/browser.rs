//! A real headless browser: Chromium, controlled through chromedriver.

#![allow(dead_code, missing_docs)]

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";
/// Far longer than any action takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Browser {
    pub client: Client,
    runtime: tokio::runtime::Runtime,
    driver: Child,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser; none, with a message, where it is not installed.
    pub fn start() -> Option<Self> {
        if !std::path::Path::new(DRIVER).exists() || !std::path::Path::new(BROWSER).exists() {
            eprintln!("skipped: {DRIVER} and {BROWSER} are not both installed");
            return None;
        }
        let mut driver = Command::new(DRIVER).arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port =
            said.filter_map(|line| Some(line.split_once("successfully on port ")?.1.to_string())).next();
        let url = format!("http://127.0.0.1:{}", port.unwrap().trim_end_matches('.'));
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = [
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
        ]
        .map(|flag| format!("--{flag}"))
        .to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({
            "goog:chromeOptions": { "args": flags, "binary": BROWSER },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(options.as_object().unwrap().clone());
        let client = runtime.block_on(builder.connect(&url)).unwrap();
        let session = runtime.block_on(client.session_id()).unwrap().unwrap();
        let session = format!("{url}/session/{session}");
        let browser = Self { client, runtime, driver, session, _profile: profile };
        browser.theme("light");
        Some(browser)
    }

    pub fn goto(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).unwrap();
    }

    /// Runs a script and returns its result.
    pub fn run(&self, script: &str) -> Value {
        self.runtime.block_on(self.client.execute(script, Vec::new())).unwrap()
    }

    /// Waits until a script returns true, and returns how long that took.
    pub fn until(&self, script: &str) -> Duration {
        let began = Instant::now();
        while self.run(&format!("return Boolean({script})")) != true {
            let state = "return [document.body.innerText, document.activeElement.outerHTML]";
            assert!(began.elapsed() < PATIENCE, "never true: {script}\n{}", self.run(state));
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    }

    /// Types into the focused element.
    pub fn keys(&self, keys: &str) {
        let typed = async { self.client.active_element().await?.send_keys(keys).await };
        self.runtime.block_on(typed).unwrap();
    }

    pub fn click(&self, selector: &str) {
        // Not below the parts of the page that stay at its top.
        self.run(&format!("document.querySelector(`{selector}`).scrollIntoView({{ block: 'center' }})"));
        let clicked = async { self.client.find(Locator::Css(selector)).await?.click().await };
        self.runtime.block_on(clicked).unwrap();
    }

    /// Sets the size of the screen, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    pub fn theme(&self, theme: &str) {
        let feature = |name: &str, value: &str| json!({ "name": name, "value": value });
        // Without animations, no element moves while it is being clicked.
        let still = feature("prefers-reduced-motion", "reduce");
        let features = json!({ "features": [feature("prefers-color-scheme", theme), still] });
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    fn devtools(&self, command: &str, params: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": params }));
    }

    /// Returns the console errors since the last call; without network errors if `offline`.
    pub fn errors(&self, offline: bool) -> Vec<String> {
        let logged = self.post("se/log", json!({ "type": "browser" }));
        let wrong = |entry: &&Value| entry["level"] == "SEVERE" && !(offline && entry["source"] == "network");
        logged.as_array().unwrap().iter().filter(wrong).map(Value::to_string).collect()
    }

    /// Sends a command that the WebDriver client does not have.
    fn post(&self, path: &str, body: Value) -> Value {
        let mut answer = ureq::post(format!("{}/{path}", self.session)).send_json(body).unwrap();
        answer.body_mut().read_json::<Value>().unwrap()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.client.clone().close());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
