//! The job with all observers against the job alone.

use super::{WARM, job, quartiles, steps_of};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Pairs of runs.
const ROUNDS: usize = 9;
/// Epochs per run.
const EPOCHS: &str = "stop.epochs=8";

/// Observing processes, each its own process group.
struct Onlookers {
    children: Vec<(&'static str, Child)>,
    /// They get only the CPU time that the job leaves (SCHED_IDLE).
    idle: bool,
}

impl Onlookers {
    /// Starts the observers that this machine has.
    fn start(address: &str, folder: &Path, idle: bool) -> Self {
        let mut onlookers = Self { children: Vec::new(), idle };
        let page = format!("http://{address}/");
        let profile = format!("--user-data-dir={}", folder.join("browser").display());
        let browser = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
            "--window-size=1280,900",
            &profile,
            &page,
        ];
        onlookers.add("browser", "chromium", &browser);
        let watch = format!("{} watch {address}", env!("CARGO_BIN_EXE_sluicebox"));
        onlookers.add("watch", "script", &["-qfc", &watch, "/dev/null"]);
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: digits\n    \
             static_configs: [{{ targets: ['{address}'] }}]\n"
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
            "--web.listen-address=127.0.0.1:0".to_string(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        onlookers.add("Prometheus", "prometheus", &arguments);
        onlookers
    }

    fn add(&mut self, name: &'static str, program: &str, arguments: &[&str]) {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(if self.idle { "chrt" } else { program });
        if self.idle {
            command.args(["--idle", "0", program]);
        }
        command.args(arguments);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => self.children.push((name, child)),
            Err(error) => println!("without {name}: {error}"),
        }
    }

    fn signal(&self, signal: i32) {
        for (_, child) in &self.children {
            // SAFETY: a signal to a process group that this process has started.
            unsafe { libc::kill(-(child.id() as i32), signal) };
        }
    }
}

impl Drop for Onlookers {
    fn drop(&mut self) {
        self.signal(libc::SIGCONT);
        self.signal(libc::SIGKILL);
        self.children.iter_mut().for_each(|(_, child)| _ = child.wait());
    }
}

/// Returns the mean seconds per step of a run.
fn step_s(sets: &[&str], state: Option<&Path>) -> f64 {
    let options = sluicebox::run::Options { state: state.map(Path::to_path_buf), ..Default::default() };
    let job = job("pipelines/digits.toml", sets);
    let stop = Arc::new(AtomicBool::new(false));
    let prepared = sluicebox::run::prepare(sluicebox::run::Parts::default(), &job, &options, stop)
        .expect("the job can be run");
    let steps = steps_of(prepared, true);
    steps[WARM..].iter().sum::<f64>() / (steps.len() - WARM) as f64
}

pub fn compare(sets: &[&str]) {
    compare_with(sets, true);
    compare_with(sets, false);
}

fn compare_with(sets: &[&str], idle: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    let mut alone: Vec<&str> = sets.iter().copied().filter(|set| !set.starts_with("epoch.")).collect();
    alone.extend(["epoch.steps=100", "report.evaluate_epochs=1", EPOCHS]);
    let listen = format!("server.listen={address}");
    let events = format!("sink=[{{kind=\"tensorboard\",path=\"{}\"}}]", folder.path().join("tb").display());
    let mut seen = alone.clone();
    seen.extend([listen.as_str(), events.as_str()]);

    let onlookers = Onlookers::start(&address, folder.path(), idle);
    let (mut ratios, mut alone_ms, mut seen_ms) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS + 1 {
        let state = folder.path().join(format!("state-{round}"));
        onlookers.signal(libc::SIGCONT);
        std::thread::sleep(Duration::from_secs(if round == 0 { 3 } else { 1 }));
        let seen = step_s(&seen, Some(&state));
        onlookers.signal(libc::SIGSTOP);
        let alone = step_s(&alone, None);
        if round > 0 {
            ratios.push(alone / seen);
            alone_ms.push(1000.0 * alone);
            seen_ms.push(1000.0 * seen);
        }
    }
    let names: Vec<&str> = onlookers.children.iter().map(|(name, _)| *name).collect();
    let [low, middle, high] = quartiles(&mut ratios);
    println!(
        "digits looked on by {}, {} (history and TensorBoard written): {:.3} ms per step, {:.3} alone: \
         ratio {middle:.4} (quartiles of {ROUNDS} pairs of runs {low:.3} and {high:.3})",
        names.join(", "),
        if idle { "which get what the job leaves of the cores" } else { "on the same cores" },
        quartiles(&mut seen_ms)[1],
        quartiles(&mut alone_ms)[1],
    );
}
