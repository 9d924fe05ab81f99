//! Progress on stderr: a bar with stage, rate and remaining time on a terminal, a plain line every 30 seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hardrock::mine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Seconds between two plain lines when stderr is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Shows what a run is doing.
pub(crate) struct Bar {
    bar: ProgressBar,
    plain: Option<Mutex<Instant>>,
    quiet: bool,
}

impl Bar {
    /// Silent when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var("TERM").is_ok_and(|t| t != "dumb");
        let bar = ProgressBar::no_length();
        bar.set_draw_target(if quiet || !terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        });
        let plain = (!quiet && !terminal).then(|| Mutex::new(Instant::now()));
        Self { bar, plain, quiet }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str, total: u64, unit: &str) {
        let template = format!(
            "{{prefix:<24}} {{bar:28}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.reset();
        self.bar.set_prefix(name.to_owned());
        self.bar.set_length(total);
        self.bar.set_position(0);
    }

    #[expect(clippy::print_stderr, reason = "progress belongs on stderr")]
    fn advance(&self, n: u64) {
        self.bar.inc(n);
        let Some(plain) = &self.plain else { return };
        let Ok(mut last) = plain.lock() else { return };
        if last.elapsed() >= PLAIN_EVERY {
            *last = Instant::now();
            eprintln!(
                "{}: {} of {}, {:.0} s left",
                self.bar.prefix(),
                self.bar.position(),
                self.bar.length().unwrap_or_default(),
                self.bar.eta().as_secs_f64()
            );
        }
    }

    #[expect(clippy::print_stderr, reason = "notices belong on stderr")]
    fn notice(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("note: {text}"));
        }
    }
}
